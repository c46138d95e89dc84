"""Object storage."""

from typing import Annotated

from pydantic import AliasChoices, BaseModel, Field, SecretStr

from pipeline.settings.authorities import ca_file_of


def _s3(name: str, *standard: str) -> AliasChoices:
    return AliasChoices(f"PICTOR_S3_{name}", *standard)


class S3Settings(BaseModel):
    s3_endpoint: Annotated[
        str,
        Field(
            description="URL of the S3 service. Default AWS",
            validation_alias=_s3("ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        ),
    ] = ""
    s3_access_key: Annotated[
        SecretStr,
        Field(
            description="Access key. Without it, Pictor asks the AWS credentials file, then the instance role",
            validation_alias=_s3("ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        ),
    ] = SecretStr("")
    s3_secret_key: Annotated[
        SecretStr,
        Field(description="Secret key", validation_alias=_s3("SECRET_KEY", "AWS_SECRET_ACCESS_KEY")),
    ] = SecretStr("")
    s3_session_token: Annotated[
        SecretStr,
        Field(
            description="Session token of temporary credentials",
            validation_alias=_s3("SESSION_TOKEN", "AWS_SESSION_TOKEN"),
        ),
    ] = SecretStr("")
    s3_region: Annotated[
        str,
        Field(
            description="Region used in signatures",
            validation_alias=_s3("REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
        ),
    ] = "us-east-1"
    s3_ca_file: Annotated[
        str,
        Field(
            description="The same for an S3 endpoint of `https://…`. Bulk reads trust the authorities of this machine as well",
            validation_alias=ca_file_of("S3", "AWS_CA_BUNDLE"),
        ),
    ] = ""
    s3_users: Annotated[
        SecretStr,
        Field(
            description='JSON object with the S3 keys of each role, `{"plan": "ACCESS_KEY:SECRET_KEY", …}`. If it is set, `pictor init` makes these users in a store of MinIO\'s kind, each with the rights of its role'
        ),
    ] = SecretStr("")
    s3_timeout_s: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Longest wait for one S3 answer, seconds")
    ] = 30.0
    s3_attempts: Annotated[
        int, Field(ge=1, le=20, description="Attempts of one S3 call. After that, the whole batch is retried")
    ] = 4
