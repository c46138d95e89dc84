"""The transparency log, and what a review of it lists."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr


class AuditSettings(BaseModel):
    audit: Annotated[
        Literal["on", "off"],
        Field(
            description="With `off`, searches are not recorded. Every answer, the pages and `pictor doctor` then say so, and a collection that has a policy cannot be searched"
        ),
    ] = "on"
    audit_key: Annotated[
        SecretStr,
        Field(
            description="Key that signs the transparency log, `PRIVATE+KEY+…` or a random text of 32 characters or more. Every process that shares a ledger needs the same. Default: the file `<home>/audit.key`, which is made at the first use"
        ),
    ] = SecretStr("")
    audit_origin: Annotated[
        str,
        Field(
            description="Name of the log, for example `audit.example.org/faces`. A new key is made for it. Default: a random one"
        ),
    ] = ""
    audit_tiles: Annotated[
        str,
        Field(
            description="Folder or `s3://bucket/prefix/` where the log's tiles and checkpoint are published. Default `<home>/audit` with an SQLite ledger, and nowhere with PostgreSQL"
        ),
    ] = ""
    audit_checkpoints: Annotated[
        str,
        Field(
            description="A second folder or `s3://bucket/prefix/` for checkpoints, best where the owner of the ledger may not delete"
        ),
    ] = ""
    review_repeats: Annotated[
        int,
        Field(
            ge=2,
            description="`pictor audit review` lists a picture that one person searched with so often. A few times is usual work, with other filters or thresholds",
        ),
    ] = 5
    review_hours: Annotated[
        str,
        Field(
            description="Days and hours of work, such as `mon-fri 07-19`. The review lists searches outside them. `mon-sun 00-24` lists none"
        ),
    ] = "mon-fri 07-19"
    review_time_zone: Annotated[
        str, Field(description="Time zone of `PICTOR_REVIEW_HOURS`, such as `Europe/Berlin`")
    ] = "UTC"
    review_burst_searches: Annotated[
        int,
        Field(
            ge=2,
            description="The review lists so many searches of one person within `PICTOR_REVIEW_BURST_MINUTES`. Somebody who looks at each answer makes about two a minute",
        ),
    ] = 30
    review_burst_minutes: Annotated[
        int, Field(ge=1, le=1440, description="See `PICTOR_REVIEW_BURST_SEARCHES`")
    ] = 10
    review_purpose_percent: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="The review lists a person of whose searches so many percent have one purpose. It may be a habit of the hand",
        ),
    ] = 95
    review_purpose_searches: Annotated[
        int, Field(ge=1, description="Fewer searches than these say nothing about a share of purposes")
    ] = 30
    review_verify_days: Annotated[
        int,
        Field(
            ge=0,
            le=3650,
            description="The review lists hits over which nobody has decided in so many days, where a policy wants persons to",
        ),
    ] = 7
    audit_agency: Annotated[
        str, Field(description="Who runs this service, for the field `agency` of each record")
    ] = ""
    audit_legal_basis: Annotated[
        str,
        Field(description="The law that allows the searches, for the field `legal_basis` of their records"),
    ] = ""
    audit_held_cases: Annotated[
        str,
        Field(
            description="References of cases whose records `pictor audit erase --due` keeps, separated by commas"
        ),
    ] = ""
    audit_policy: Annotated[
        Path | None,
        Field(
            description="File of the form c2sp.org/tlog-policy with the witnesses that sign checkpoints, and how many must"
        ),
    ] = None
