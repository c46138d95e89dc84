"""The index, the ledger, and where pictures of requests are kept."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from pipeline.settings.authorities import ca_file_of


class DatabaseSettings(BaseModel):
    milvus_uri: Annotated[
        str,
        Field(
            description="`http(s)://…` of a Milvus server, or a file for Milvus Lite. Default `<home>/milvus.db`"
        ),
    ] = ""
    milvus_token: Annotated[
        SecretStr, Field(description="`user:password` or API key of the Milvus server")
    ] = SecretStr("")
    milvus_worker_token: Annotated[
        SecretStr,
        Field(
            description="`PICTOR_MILVUS_TOKEN` of the workers. If it is set, `pictor init` makes its user, who may not drop collections"
        ),
    ] = SecretStr("")
    milvus_service_token: Annotated[
        SecretStr,
        Field(
            description="`PICTOR_MILVUS_TOKEN` of `pictor serve` in a cluster. If it is set, `pictor init` makes its user, who may drop collections, too"
        ),
    ] = SecretStr("")
    milvus_ca_file: Annotated[
        str,
        Field(
            description="PEM file of the authorities to trust where the Milvus URI is `https://…`. Default, or with `system`: those of this machine",
            validation_alias=ca_file_of("MILVUS"),
        ),
    ] = ""
    vector_type: Annotated[
        Literal["float32", "float16"],
        Field(
            description="Type of stored vectors in new collections. `float16` needs a Milvus server of 2.4 or later"
        ),
    ] = "float32"
    ledger_url: Annotated[
        SecretStr, Field(description="SQLAlchemy URL of the ledger. Default `sqlite:///<home>/ledger.db`")
    ] = SecretStr("")
    ledger_worker_url: Annotated[
        SecretStr,
        Field(
            description="`PICTOR_LEDGER_URL` of the workers. If it is set, `pictor init` makes its user, who may not change the schema"
        ),
    ] = SecretStr("")
    ledger_service_url: Annotated[
        SecretStr,
        Field(
            description="`PICTOR_LEDGER_URL` of `pictor serve` in a cluster. If it is set, `pictor init` makes its user, who may keep keys, too"
        ),
    ] = SecretStr("")
    ledger_ca_file: Annotated[
        str,
        Field(
            description="The same for PostgreSQL, whose certificate is always verified unless the URL says `?sslmode=disable` or names this machine",
            validation_alias=ca_file_of("LEDGER"),
        ),
    ] = ""
    uploads: Annotated[
        str,
        Field(
            description="Folder or `s3://bucket/prefix/` where pictures are kept that come over HTTP to be indexed. Default `<home>/uploads`, and none where workers run the jobs"
        ),
    ] = ""
