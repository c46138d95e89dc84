"""Workers, and who submits to them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from pipeline.settings.authorities import ca_file_of


class ClusterSettings(BaseModel):
    api: Annotated[
        str,
        Field(
            description="URL of a Pictor service. If it is set, `pictor ingest SOURCE`, searches, jobs and collections go through it"
        ),
    ] = ""
    api_key: Annotated[SecretStr, Field(description="Key for the service of `PICTOR_API`")] = SecretStr("")
    broker_url: Annotated[
        SecretStr,
        Field(
            description="`amqp://user:password@host:port/vhost` of RabbitMQ, or `amqps://…` with TLS. If it is set, `pictor ingest SOURCE` submits to the workers"
        ),
    ] = SecretStr("")
    broker_ca_file: Annotated[
        str,
        Field(
            description="The same for a broker of `amqps://…`",
            validation_alias=ca_file_of("BROKER"),
        ),
    ] = ""
    allowed_buckets: Annotated[
        str,
        Field(
            description="Buckets that public tasks may name, as globs with commas between them, for example `shop-*,press`"
        ),
    ] = "*"
    allowed_collections: Annotated[
        str, Field(description="Collections that public tasks may name, in the same way")
    ] = "*"
    preparation: Annotated[
        Literal["inline", "staged"],
        Field(
            description="With `inline`, embed workers fetch and decode. With `staged`, prepare workers do, and leave blocks of pixels in the staging bucket"
        ),
    ] = "inline"
    staging_bucket: Annotated[str, Field(description="Bucket for blocks of pixels in staged mode")] = (
        "pictor-staging"
    )
    retention_days: Annotated[
        int,
        Field(
            ge=0,
            le=36_500,
            description="Days after its end when `pictor sweep` and `pictor jobs prune` delete the batches and failures of a job. Its counts stay. 0: never",
        ),
    ] = 90
    outstanding_batches: Annotated[
        int,
        Field(
            ge=1,
            description="Batches of a job that may be queued or in flight at once. More are planned as these are reported",
        ),
    ] = 64
    run_dir: Annotated[
        Path | None,
        Field(description="Folder for a worker's readiness and heartbeat files. Default `<home>/run`"),
    ] = None
