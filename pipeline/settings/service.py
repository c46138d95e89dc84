"""`pictor serve` and what it answers, and what is measured of a process."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, Field, SecretStr


class ServiceSettings(BaseModel):
    service_cursor_key: Annotated[
        SecretStr,
        Field(
            description="Secret with which the processes of a service sign the `next_token` of a page. Give all of them the same. Without it each takes only its own"
        ),
    ] = SecretStr("")
    metrics_port: Annotated[
        int,
        Field(
            ge=0,
            le=65535,
            description="Port on which a worker, or a process of the service, answers Prometheus. Each of a machine needs its own. 0 means none",
        ),
    ] = 0
    metrics_address: Annotated[
        str, Field(description="Address of that port. Anybody who reaches it can read the metrics")
    ] = "0.0.0.0"  # noqa: S104 - who asks is another machine, and the port is off until it is wanted
    service_keys: Annotated[
        Literal["off", "required"],
        Field(
            description="With `required`, `pictor serve` wants a key for every request, and may listen on other addresses than loopback ones"
        ),
    ] = "off"
    service_hosts: Annotated[
        str,
        Field(
            description="Host names that `pictor serve` goes by, with commas between them, for example `pictor.example.org`. `*` is any. Default: those of this machine's loopback, and `--host`"
        ),
    ] = ""
    service_requests_per_minute: Annotated[
        int,
        Field(
            ge=0,
            description="Requests to `/v1/` and searches with the page that one caller may send to one process of `pictor serve` in a minute. 0 means any number",
        ),
    ] = 0
    service_tls_cert_file: Annotated[
        str,
        Field(description="PEM file with the certificate of `pictor serve`, which then answers by HTTPS"),
    ] = ""
    service_tls_key_file: Annotated[
        str, Field(description="PEM file with the private key of that certificate")
    ] = ""
    rekognition: Annotated[
        Literal["on", "off"],
        Field(
            description="With `on`, `pictor serve` answers clients of Amazon Rekognition's face collections at `/rekognition`. It needs `PICTOR_REKOGNITION_KEY`"
        ),
    ] = "off"
    rekognition_key: Annotated[
        SecretStr,
        Field(
            description="Random text of 32 characters or more, from which the secrets of AWS clients follow. Every process of a service needs the same. With another one, all pairs change"
        ),
    ] = SecretStr("")
    rekognition_policy: Annotated[
        Path | None,
        Field(
            description="File with the policy that a collection gets that an administrator makes with CreateCollection"
        ),
    ] = None
    rekognition_collection: Annotated[
        str,
        Field(
            description="CollectionId whose model and policy answer DetectFaces and CompareFaces, which name none"
        ),
    ] = ""
    calibration: Annotated[
        Path | None,
        Field(
            description="File of a calibration that `pictor evaluate` made. It turns a cosine into a similarity from 0 to 100, for the floors of policies and for AWS clients"
        ),
    ] = None
    otlp_endpoint: Annotated[
        str,
        Field(
            description="URL of an OpenTelemetry collector that takes OTLP over HTTP. If it is set, the service and the workers send traces there. It needs the extra `otel`",
            validation_alias=AliasChoices("PICTOR_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ),
    ] = ""
    secrets_dir: Annotated[
        Path | None,
        Field(
            description="Folder with one file per secret, named like its variable, for example `PICTOR_BROKER_URL`. A variable that is set wins"
        ),
    ] = None
