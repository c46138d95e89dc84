"""The only reader of the environment. Each field is one variable, `PICTOR_<NAME>`.

S3 settings fall back to the standard AWS variables, so that a shell set up for another S3 tool works as
it is. Secrets may also stand in files, one each, so that containers need not have them in their environment.
docs/reference/settings.md is made from the descriptions below.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.client_settings import default_home, secret_in_file
from pipeline.errors import ConfigError
from pipeline.setting_faults import say_fault


def _s3(name: str, *standard: str) -> AliasChoices:
    return AliasChoices(f"PICTOR_S3_{name}", *standard)


def _ca_file(service: str, *standard: str) -> AliasChoices:
    return AliasChoices(f"PICTOR_{service}_CA_FILE", "PICTOR_CA_FILE", *standard)


def _s3_prefix(text: str) -> str:
    if text and (not text.startswith("s3://") or text == "s3://"):
        raise ValueError("s3://bucket/prefix")
    return text


class Settings(BaseSettings):
    """All settings, frozen. Empty text means "not set" throughout."""

    model_config = SettingsConfigDict(
        env_prefix="PICTOR_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # a mistyped secret must not be printed
        populate_by_name=True,
    )

    home: Annotated[Path, Field(description="Where the embedded index, ledger and models live")] = Field(
        default_factory=default_home
    )
    collection: Annotated[str, Field(description="Collection used when none is named")] = "images"
    model: Annotated[
        str,
        Field(
            description="`builtin`, `torchvision/NAME`, `timm/NAME`, `hf/ORG/NAME`, a folder in Hugging Face's layout, or a model file. An existing collection keeps its own"
        ),
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="The lowest level that workers log to standard error"),
    ] = "INFO"
    model_dir: Annotated[
        Path | None, Field(description="Folder for downloaded weights. Default `<home>/models`")
    ] = None
    model_store: Annotated[
        str,
        AfterValidator(_s3_prefix),
        Field(
            description="`s3://bucket/prefix` below which models of Hugging Face and timm lie as `ORG/NAME`, each folder as `pictor models pull MODEL` left it. One that is not in `PICTOR_MODEL_DIR` is fetched from there",
        ),
    ] = ""
    device: Annotated[str, Field(description="`auto`, `cpu` or `cuda:N`")] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"],
        Field(
            description="Precision of a trained model. `auto` is bfloat16 where the device has it and embeddings keep a cosine of 0.999 to float32. `int8` is for CPUs, and needs `pictor models calibrate MODEL SOURCE` first"
        ),
    ] = "auto"
    backend: Annotated[
        Literal["auto", "torch", "onnxruntime", "openvino"],
        Field(
            description="What runs a trained model on a CPU. `auto` tries those that are installed when a job first loads the model, and keeps the fastest whose embeddings have a cosine of 0.999 to torch. On a GPU it is always torch"
        ),
    ] = "auto"
    jpeg_decoder: Annotated[
        Literal["cpu", "cuda"],
        Field(
            description="Device that decodes ordinary JPEGs. With `cuda` it is the GPU of the model, or else the first one, and a batch has at most `PICTOR_DECODE_THREADS` images"
        ),
    ] = "cpu"
    device_threads: Annotated[
        int,
        Field(
            ge=0,
            le=256,
            description="CPU threads of a process for forward passes. 0 means its share of the cores",
        ),
    ] = 0

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
            validation_alias=_ca_file("MILVUS"),
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
            validation_alias=_ca_file("LEDGER"),
        ),
    ] = ""

    uploads: Annotated[
        str,
        Field(
            description="Folder or `s3://bucket/prefix/` where pictures are kept that come over HTTP to be indexed. Default `<home>/uploads`, and none where workers run the jobs"
        ),
    ] = ""

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
            validation_alias=_ca_file("S3", "AWS_CA_BUNDLE"),
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
            validation_alias=_ca_file("BROKER"),
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

    batch_items: Annotated[int, Field(ge=1, le=1000, description="Objects per message")] = 64
    queue_batches: Annotated[
        int, Field(ge=1, description="Longest backlog of planned batches in the embedded driver")
    ] = 4
    batch_threads: Annotated[
        int, Field(ge=1, le=16, description="Batches worked on at once by the embedded driver")
    ] = 2
    fetch_threads: Annotated[
        int,
        Field(
            ge=0,
            le=128,
            description="Objects of a batch fetched at once. 0 means 8, or fewer if the container has little memory",
        ),
    ] = 0
    decode_threads: Annotated[
        int,
        Field(
            ge=0,
            le=128,
            description="Images decoded at once. 0 means one for each core, or fewer if the container has little memory",
        ),
    ] = 0
    group_items: Annotated[
        int,
        Field(ge=1, le=4096, description="Images given to the device at once. A CPU takes them 8 by 8"),
    ] = 32

    max_object_bytes: Annotated[int, Field(ge=1, description="Largest object that is read, bytes")] = (
        64 * 2**20
    )
    max_px: Annotated[int, Field(ge=1, description="Most pixels of an image, whatever its format")] = (
        100_000_000
    )
    decode_budget_bytes: Annotated[
        int,
        Field(
            ge=2**20,
            description="Most memory that decoding one image may need, in bytes. It is estimated from the header",
        ),
    ] = 224 * 2**20
    decode_deadline_s: Annotated[
        float,
        Field(
            ge=1,
            allow_inf_nan=False,
            description="Longest time that decoding one image, and finding the faces in it, may take, in seconds of one core. It is looked at between steps. Then the image has the reason `timeout`",
        ),
    ] = 60.0  # the work that is allowed takes about 10 s on a core of 2024; old ones are half as fast
    min_side_px: Annotated[int, Field(ge=1, description="Shortest side of an image, px")] = 4

    @classmethod
    def from_env(cls) -> Self:
        """Read and check the environment.

        Raises:
            ConfigError: a variable has an unusable value. All of them are named, with what is
                allowed. No text is shown. Or the folder of secrets, or a file in it, cannot be read.
        """
        try:
            secrets = _secrets_in_files(cls, os.environ)
            return cls(**(_one_identity(os.environ, secrets) | secrets))
        except ValidationError as err:
            raise ConfigError("; ".join(map(cls._say, err.errors()))) from None

    @classmethod
    def _say(cls, fault: ErrorDetails) -> str:
        variable, ours = _variable(fault["loc"]), fault.get("ctx", {}).get("error")
        field = next(field for name, field in cls.model_fields.items() if _is_of(variable, name, field))
        return say_fault(variable, field, fault["input"], str(ours or ""))

    @property
    def milvus_target(self) -> str:
        return self.milvus_uri or str(self.home / "milvus.db")

    @property
    def ledger_target(self) -> str:
        return self.ledger_url.get_secret_value() or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def uploads_target(self) -> str:
        """ "" for none."""
        home = "" if self.broker_url.get_secret_value() else str(self.home / "uploads")
        return self.uploads or home

    @property
    def audit_tiles_target(self) -> str:
        """ "" for nowhere."""
        home = str(self.home / "audit") if self.ledger_target.startswith("sqlite") else ""
        return self.audit_tiles or home

    @property
    def held_cases(self) -> tuple[str, ...]:
        return _globs(self.audit_held_cases)

    @property
    def bucket_globs(self) -> tuple[str, ...]:
        return _globs(self.allowed_buckets)

    @property
    def collection_globs(self) -> tuple[str, ...]:
        return _globs(self.allowed_collections)

    @property
    def service_host_names(self) -> tuple[str, ...]:
        return tuple(name.lower() for name in _globs(self.service_hosts))

    @property
    def run_folder(self) -> Path:
        return self.run_dir or self.home / "run"

    @property
    def weights_dir(self) -> Path:
        return self.model_dir or self.home / "models"


def _globs(text: str) -> tuple[str, ...]:
    return tuple(glob.strip() for glob in text.split(",") if glob.strip())


def _secrets_in_files(model: type[BaseSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    """Secrets from PICTOR_SECRETS_DIR, without those that a variable of ours gives."""
    secrets = [name for name, field in model.model_fields.items() if field.annotation is SecretStr]
    asked = [name for name in secrets if not environ.get(f"PICTOR_{name.upper()}")]
    found = {name: secret_in_file(f"PICTOR_{name.upper()}", environ) for name in asked}
    return {name: SecretStr(text) for name, text in found.items() if text}


def _one_identity(environ: Mapping[str, str], secrets: Mapping[str, object]) -> dict[str, Any]:
    """Where one of our own S3 credentials is set, none of the AWS ones may complete it to a mixture."""
    ours = ("s3_access_key", "s3_secret_key", "s3_session_token")
    unset = [name for name in ours if not environ.get(f"PICTOR_{name.upper()}") and name not in secrets]
    return {} if len(unset) == len(ours) else dict.fromkeys(unset, SecretStr(""))


def _is_of(variable: str, name: str, field: FieldInfo) -> bool:
    alias = field.validation_alias
    return variable == f"PICTOR_{name.upper()}" or (
        isinstance(alias, AliasChoices) and variable in alias.choices
    )


def _variable(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0]) if loc else "?"
    return name if name.isupper() else f"PICTOR_{name.upper()}"
