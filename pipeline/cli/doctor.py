"""`pictor doctor`: check each configured component, show its version, and say how to mend it."""

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from pipeline import wiring, wiring_audit
from pipeline.addresses import show_url, shown_tls
from pipeline.capacity import Load, Threads, fit_threads, needed_bytes
from pipeline.cgroup import Share, read_share
from pipeline.cli.output import write_json, write_table
from pipeline.errors import PictorError
from pipeline.ports.model_binding import DEFAULT_MODEL, choose_model
from pipeline.settings import Settings
from pipeline.types import ModelSpec

EMBEDDED_INDEX_BYTES = 2 * 2**30  # a million vectors of 512 floats
WORKING_BYTES = 64 * 2**20  # of a process whose data are on servers: run files, metrics, temporary files


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    component: str
    ok: bool
    found: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Check every configured component. Exits with 1 when one of them cannot be used."""
    settings = Settings.from_env()
    findings = list(examine(settings))
    if as_json:
        for finding in findings:
            write_json(asdict(finding))
    else:
        rows = [("ok" if f.ok else "FAILED", f.component, f.found, f.remedy) for f in findings]
        write_table(("", "component", "found", "what to do"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    read_spec = cache(partial(_read_spec, settings))  # once for all checks: it reads all weights
    yield Finding(
        component="pictor", ok=True, found=f"{version('pictor')}, Python {platform.python_version()}"
    )
    yield _try("home", _home, "set PICTOR_HOME to a folder on a disk with room", settings)
    yield _try(
        "memory",
        lambda s: describe_memory(s, read_share(), _load(read_spec)),
        "give the container more, see docs/how-to/operate.md",
        settings,
    )
    yield _try("index", _index, "start Milvus, or unset PICTOR_MILVUS_URI to use a file", settings)
    yield _try("ledger", _ledger, "start the database, or unset PICTOR_LEDGER_URL to use a file", settings)
    yield _try("audit", _audit, "see docs/how-to/policies.md", settings)
    yield _try("objects", _objects, "check PICTOR_S3_ENDPOINT and the access key", settings)
    yield _try("broker", _broker, "start RabbitMQ, or unset PICTOR_BROKER_URL to work without it", settings)
    yield _try(
        "model", lambda _: _model(read_spec()), "see `pictor models list`, or set PICTOR_MODEL", settings
    )
    yield _try("device", _device, "set PICTOR_DEVICE to cpu, or install the driver", settings)
    yield _try(
        "backend",
        lambda s: _backend(s, read_spec),
        "set PICTOR_BACKEND to auto, or install what it names",
        settings,
    )


def _try(component: str, check: Callable[[Settings], str], remedy: str, settings: Settings) -> Finding:
    try:
        return Finding(component=component, ok=True, found=check(settings))
    except PictorError as err:
        return Finding(component=component, ok=False, found=str(err), remedy=remedy)


def wanted_bytes(settings: Settings) -> int:
    """The free space that PICTOR_HOME needs: much if it holds the index, little beside a Milvus server."""
    return EMBEDDED_INDEX_BYTES if settings.home in _index_file(settings).parents else WORKING_BYTES


def _index_file(settings: Settings) -> Path:
    return Path("" if "://" in settings.milvus_target else settings.milvus_target)


def _home(settings: Settings) -> str:
    wiring.make_home(settings)
    return f"{settings.home}, {_room(settings.home, wanted_bytes(settings))} free"


def _room(folder: Path, wanted_bytes: int) -> str:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < wanted_bytes:
        raise PictorError(f"{folder}: {_size(free_bytes)} free, {_size(wanted_bytes)} are wanted")
    return _size(free_bytes)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.0f} MiB"


def describe_memory(settings: Settings, share: Share, load: Load) -> str:
    """The memory, and the threads that one batch of one process gets of it.

    Raises:
        PictorError: it is too little for one image.
    """
    limits = wiring.limits_of(settings)
    wanted = needed_bytes(limits, Threads(fetch=1, decode=1), load)
    found = f"{_size(share.memory_bytes)} for {share.cores} cores"
    if share.memory_bytes < wanted:
        raise PictorError(f"{found}; {_size(wanted)} are wanted")
    threads = fit_threads(settings, limits, share, load)
    return f"{found}: {threads.fetch} fetch threads, {threads.decode} decode threads a batch"


def _index(settings: Settings) -> str:
    file = _index_file(settings)
    if file.parent.is_dir() and file.name:
        _room(file.parent, EMBEDDED_INDEX_BYTES)
    with wiring.open_index(settings) as index:
        found = f"{index.server_version()}, {len(index.list_collections())} collections"
    if file.name:
        return f"{settings.milvus_target}, {found}"
    return f"{describe_server(settings.milvus_target, secure='https')}, {found}"


def _ledger(settings: Settings) -> str:
    with wiring.open_ledger(settings) as ledger:
        return ledger.describe()


def _audit(settings: Settings) -> str:
    with wiring_audit.open_recording(settings) as log:
        if log is None:
            return "PICTOR_AUDIT is off: searches are NOT recorded"
        return f"searches are recorded, {log.head().size} entries"


def _objects(settings: Settings) -> str:
    if not (settings.s3_endpoint or settings.s3_access_key.get_secret_value()):
        return "folders; no S3 is configured"
    wiring.open_s3(settings).check()
    from pipeline.adapters.s3.config import parse_endpoint

    endpoint = parse_endpoint(settings.s3_endpoint)
    return f"folders and {'AWS S3' if endpoint.is_aws else endpoint.url}, {shown_tls(endpoint.secure)}"


def _broker(settings: Settings) -> str:
    url = settings.broker_url.get_secret_value()
    if not url:
        return "none; a job runs in the process that starts it"
    from workers.broker.connection import broker_connection

    with broker_connection(settings):
        return describe_server(url, secure="amqps")


def describe_server(url: str, *, secure: str) -> str:
    """Where a server is and whether it is reached with TLS: that is said by the scheme."""
    return f"{show_url(url)}, {shown_tls(urlsplit(url).scheme == secure)}"


def _read_spec(settings: Settings) -> ModelSpec:
    return wiring.load_model_spec(choose_model(settings.model, None), settings)


def _load(read_spec: Callable[[], ModelSpec]) -> Load:
    """A model that cannot be read counts as the builtin one. Another check says why it cannot."""
    try:
        return wiring.load_of_model(read_spec())
    except PictorError:
        return Load()


def _model(spec: ModelSpec) -> str:
    alone = f"{spec.name} ({spec.fingerprint[:8]}), {spec.dim} dimensions"
    beside = [f"{one.name}: {one.spec.name}, {one.spec.dim} dimensions" for one in spec.beside]
    return "; beside it ".join([alone, *([", ".join(beside)] if beside else [])])


def _device(settings: Settings) -> str:
    from pipeline.adapters.models.torch_embedder import pick_device

    return str(pick_device(settings.device))


def _backend(settings: Settings, read_spec: Callable[[], ModelSpec]) -> str:
    """What runs the model in jobs, and why."""
    from pipeline.adapters.models.backends.backend import OTHERS, Backend, check_installed, is_installed
    from pipeline.adapters.models.backends.int8 import INT8

    address = choose_model(settings.model, None)
    if address == DEFAULT_MODEL:
        return "torch, as always for the builtin model"
    if always := wiring.fixed_backend(address):
        return f"{always}, as always for models in ONNX files"
    if _device(settings) != "cpu":
        return "torch, as always on a GPU"
    if settings.backend != "auto":
        check_installed(Backend(settings.backend))
        return f"{settings.backend}, by PICTOR_BACKEND"
    if not any(is_installed(other) for other in OTHERS):
        return "torch; nothing else is installed"
    spec = read_spec()
    if settings.precision == INT8:
        return "the one that the model was calibrated with for int8"
    if spec.beside:
        return "auto; the first job tries them with each model"
    trials = wiring.known_trials(spec, settings)
    if trials is None:
        return f"auto; the first job tries them, or `pictor models bench {address}` does"
    chosen = wiring.pick_trial(trials)
    gain = chosen.images_per_s / trials[0].images_per_s
    return f"{chosen.backend} in {chosen.precision}, {gain:.2f} times the rate of torch in the trial"
