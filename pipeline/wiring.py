"""From settings to adapters: the only place that knows which adapter stands behind a port.

Adapters are imported inside the functions: `pictor --version`, or a client that only submits work, must not
pay seconds for torch and pymilvus, nor need them installed.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.adapters.models.opened import CLOSED, Handover
from pipeline.capacity import Load, fit_threads, needed_bytes
from pipeline.cgroup import Share, read_share
from pipeline.errors import ArgumentError, ConfigError, ModelError
from pipeline.home import make_private
from pipeline.location import Location, local_path, parse_location, split_s3_url
from pipeline.ports import (
    Concurrency,
    Deps,
    ImageEmbedder,
    ImageLimits,
    Ledger,
    ObjectStore,
    PolicyBook,
    TextEmbedder,
    VectorIndex,
    ViewFinder,
)
from pipeline.ports.lazy import LazyEmbedder, LazyFinder, LazyStore, LazyTexts
from pipeline.ports.model_binding import (
    DEFAULT_MODEL,
    check_binding,
    choose_model,
    choose_precision,
    find_generation,
)
from pipeline.settings import Settings
from pipeline.types import (
    WORKERS,
    CollectionInfo,
    CollectionRef,
    Job,
    ModelBeside,
    ModelSpec,
    embedded_on,
)

if TYPE_CHECKING:
    from pipeline.adapters.ledger.sql_ledger import SqlLedger
    from pipeline.adapters.models.backends.calibrate import Calibration, Sample
    from pipeline.adapters.models.backends.networks import Work
    from pipeline.adapters.models.backends.trial import Trial
    from pipeline.adapters.models.catalogue import CatalogueEntry
    from pipeline.adapters.models.faces.known import KnownNetwork
    from pipeline.adapters.models.family import PulledModel
    from pipeline.adapters.s3.config import S3Config
    from pipeline.adapters.s3.rights import StorePlaces
    from pipeline.adapters.s3.store import S3Store

logger = logging.getLogger(__name__)

MAX_WEIGHTS_BYTES = 8 * 2**30  # the largest published classification weights are 2.5 GB


def limits_of(settings: Settings) -> ImageLimits:
    return ImageLimits(
        max_object_bytes=settings.max_object_bytes,
        max_px=settings.max_px,
        decode_budget_bytes=settings.decode_budget_bytes,
        decode_deadline_s=settings.decode_deadline_s,
        min_side_px=settings.min_side_px,
    )


def concurrency_of(settings: Settings, load: Load, share: Share | None = None) -> Concurrency:
    """Args: `share` is that of this process by default."""
    share, limits = share or read_share(), limits_of(settings)
    threads = fit_threads(settings, limits, share, load)
    needed = needed_bytes(limits, threads, load)
    if needed > share.memory_bytes:
        sizes = {"memory_mib": share.memory_bytes >> 20, "needed_mib": needed >> 20}
        logger.warning("the largest images do not fit into the memory", extra=sizes)
    jpeg_device = _jpeg_device(settings)
    # Threads that read ahead hide the time of a network. With a disk, and one core for each batch, threads
    # beside that of the batch only take turns with it.
    in_turn = load.of_folder and threads.decode == 1 and not (jpeg_device or settings.fetch_threads)
    return Concurrency(
        fetch_threads=threads.fetch,
        decode_threads=threads.decode,
        group_items=settings.group_items,
        jpeg_device=jpeg_device,
        works_ahead=not in_turn,
    )


def load_of_searches(collections: Iterable[CollectionInfo]) -> Load:
    """Of a process that searches these. Each model is loaded when its collection is asked for."""
    known = list(collections)
    return Load(
        is_trained=any(info.model_address != DEFAULT_MODEL for info in known),
        finds_views=any(info.has_views for info in known),
        models_beside=max(map(_searched_beside, known), default=0),
    )


def _searched_beside(info: CollectionInfo) -> int:
    return sum(one.model_address != DEFAULT_MODEL for one in info.beside.values())


def load_of_model(spec: ModelSpec, *, batches: int = 1) -> Load:
    """Of a process with this model."""
    return Load(
        batches=batches,
        is_trained=is_trained(spec),
        finds_views=spec.has_views,
        models_beside=trained_beside(spec),
    )


def is_trained(spec: ModelSpec) -> bool:
    """Whether it has weights. A model file may name the builtin one, too."""
    return spec.architecture != DEFAULT_MODEL


def trained_beside(spec: ModelSpec) -> int:
    """How many of the models beside it have weights."""
    return sum(is_trained(one.spec) for one in spec.beside)


def load_of_job(job: Job, settings: Settings) -> Load:
    """Of a process that runs it, by what the job says of its model. Whether it looks for faces shows as
    soon as a batch is done. Models beside the first are known where PICTOR_MODEL is the job's model.
    """
    counts, name = job.counts, job.request.model_name
    first, *beside = _addresses_in(settings.model, name) or [name]
    return Load(
        batches=settings.batch_threads,
        is_trained=first != DEFAULT_MODEL,
        finds_views=counts.faces_found + counts.without_faces > 0,
        models_beside=sum(address != DEFAULT_MODEL for address in beside),
    )


def _addresses_in(file: str, name: str) -> list[str]:
    """Of the models in a model file, if it puts some together under that name. Nothing but model files is
    read. One that cannot be read has none here: a status is no place for its faults.
    """
    if not file.endswith(".toml"):
        return []
    from pipeline.adapters.models.beside import read_composition

    try:
        found = read_composition(file, is_name=lambda address: not address.endswith(".toml"))
    except ModelError:
        return []
    return [one.text for one in (found.first, *found.beside.values())] if found.name == name else []


def _jpeg_device(settings: Settings) -> str:
    if settings.jpeg_decoder == "cpu":
        return ""
    return settings.device if settings.device.startswith("cuda") else "cuda:0"


def open_store(settings: Settings) -> ObjectStore:
    """Folders and, once it is asked for, S3. The S3 client is made at its first use."""
    from pipeline.adapters.folder.store import FolderStore
    from pipeline.adapters.routed_store import RoutedStore

    return RoutedStore(folders=FolderStore(), s3=LazyStore(lambda: open_s3(settings)))


def open_uploads(settings: Settings, *, driver: str) -> Location | None:
    """Where pictures are kept that come over HTTP. A folder is made if need be.

    Raises:
        ConfigError: it is no place, or workers elsewhere could not read it.
    """
    target = settings.uploads_target
    if target and not target.startswith("s3://") and driver == WORKERS:
        raise ConfigError(f"PICTOR_UPLOADS: {target} is a folder, and workers elsewhere cannot read it")
    return make_place(target, of="PICTOR_UPLOADS", mode=0o700) if target else None


def make_place(target: str, *, of: str, mode: int = 0o777) -> Location:
    """A place to write into: a folder, which is made if need be, or a prefix that ends like one.

    Args:
        of: the setting that names it.

    Raises:
        ConfigError: it is no place.
    """
    try:
        if not target.startswith("s3://"):
            local_path(target).mkdir(parents=True, exist_ok=True, mode=mode)
        elif not target.endswith("/"):
            target = f"{target}/"  # else `up` would hold `uploads` of somebody else, and keys would begin so
        return parse_location(target)
    except OSError as err:
        raise ConfigError(f"{of}: folder {target} cannot be made: {err.strerror}") from err
    except ArgumentError as err:
        raise ConfigError(f"{of}: {err}") from err


def locate_file(path: Path) -> tuple[str, str]:
    """The bucket and key of a file."""
    from pipeline.adapters.folder.keys import locate_file as locate

    return locate(path)


def open_s3(settings: Settings) -> "S3Store":
    from pipeline.adapters.s3.store import S3Store

    return S3Store(_s3_config(settings))


def _s3_config(settings: Settings) -> "S3Config":
    from pipeline.adapters.s3.config import S3Config

    return S3Config(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        session_token=settings.s3_session_token.get_secret_value(),
        region=settings.s3_region,
        timeout_s=settings.s3_timeout_s,
        attempts=settings.s3_attempts,
        ca_file=settings.s3_ca_file,
    )


def store_policy(settings: Settings, roles: Sequence[str]) -> dict[str, object]:
    """The policy of an S3 user that does the work of these roles. See `policy_of`."""
    from pipeline.adapters.s3.rights import policy_of

    return policy_of(roles, _store_places(settings))


def make_store_users(settings: Settings) -> dict[str, str]:
    """Make the S3 users that are configured. Returns their access keys, by role."""
    from pipeline.adapters.s3.users import make_users

    users = settings.s3_users.get_secret_value()
    return make_users(_s3_config(settings), users, _store_places(settings)) if users else {}


def _store_places(settings: Settings) -> "StorePlaces":
    from pipeline.adapters.s3.rights import StorePlaces

    def in_store(target: str, of: str) -> Location | None:
        return make_place(target, of=of) if target.startswith("s3://") else None

    return StorePlaces(
        sources=settings.bucket_globs,
        staging=settings.staging_bucket,
        uploads=in_store(settings.uploads, "PICTOR_UPLOADS"),
        tiles=in_store(settings.audit_tiles, "PICTOR_AUDIT_TILES"),
        checkpoints=in_store(settings.audit_checkpoints, "PICTOR_AUDIT_CHECKPOINTS"),
        weights=_weights_in_store(settings),
    )


def _weights_in_store(settings: Settings) -> list[Location]:
    store = [settings.model_store.rstrip("/") + "/"] if settings.model_store else []
    if not settings.model.endswith(".toml"):
        return [parse_location(url) for url in store]
    from pipeline.adapters.models.catalogue import list_files

    files = [file.location for file in list_files(settings.model)]
    return [parse_location(url) for url in (*files, *store) if url.startswith("s3://")]


class OpenIndex(VectorIndex, AbstractContextManager[Any], Protocol):
    """An index of this process, to be closed."""

    def server_version(self) -> str: ...

    def close(self) -> None: ...


def open_index(settings: Settings) -> OpenIndex:
    from pipeline.adapters.beside.index import OpenBesideIndex

    return OpenBesideIndex(_open_index_of_one(settings))


def _open_index_of_one(settings: Settings) -> OpenIndex:
    """Of one embedding of each image."""
    from pipeline.adapters.milvus.lite.folder import is_lite

    make_home(settings)
    if is_lite(settings.milvus_target):
        from pipeline.adapters.milvus.lite.index import LiteIndex

        return LiteIndex(
            settings.milvus_target, vector_type=settings.vector_type, precision=settings.precision
        )
    from pipeline.adapters.milvus.index import MilvusIndex

    return MilvusIndex(
        settings.milvus_target,
        token=settings.milvus_token.get_secret_value(),
        vector_type=settings.vector_type,
        precision=settings.precision,
        ca_file=settings.milvus_ca_file,
    )


@contextmanager
def open_index_of_loads(
    settings: Settings, index: OpenIndex, *, open_another: Callable[[Settings], OpenIndex] = open_index
) -> Iterator[OpenIndex]:
    """For jobs of a process whose searches go through `index`: a connection of its own to a Milvus server.

    A connection waits in each search for the rows that it has written itself: 0.2 s and more, as long as a
    job writes. A folder is open once only, and its searches wait for nothing.
    """
    from pipeline.adapters.milvus.lite.folder import is_lite

    if is_lite(settings.milvus_target):
        yield index
        return
    with open_another(settings) as another:
        yield another


def open_ledger(settings: Settings) -> "SqlLedger":
    from pipeline.adapters.ledger.sql_ledger import open_ledger as open_sql_ledger

    make_home(settings)
    return open_sql_ledger(settings.ledger_target, ca_file=settings.ledger_ca_file)


def migrate_ledger(settings: Settings) -> str:
    """Bring the ledger's schema up to date. Returns its revision."""
    from pipeline.adapters.ledger.migrate import migrate
    from pipeline.adapters.ledger.schema import REVISION

    make_home(settings)
    migrate(settings.ledger_target, ca_file=settings.ledger_ca_file)
    return REVISION


def make_index_users(settings: Settings) -> dict[str, str]:
    """Make the Milvus users that are configured. Returns their names, by whose they are."""
    from pipeline.adapters.milvus.worker_role import make_service_role, make_worker_role

    users = {
        "workers": (make_worker_role, settings.milvus_worker_token.get_secret_value()),
        "HTTP service": (make_service_role, settings.milvus_service_token.get_secret_value()),
    }
    return {
        whose: make(
            settings.milvus_target,
            owner_token=settings.milvus_token.get_secret_value(),
            token=token,
            ca_file=settings.milvus_ca_file,
        )
        for whose, (make, token) in users.items()
        if token
    }


def make_ledger_users(settings: Settings) -> dict[str, str]:
    """Make the database users that are configured. Returns their names, by whose they are."""
    from pipeline.adapters.ledger.worker_role import make_service_role, make_worker_role

    users = {
        "workers": (make_worker_role, settings.ledger_worker_url.get_secret_value()),
        "HTTP service": (make_service_role, settings.ledger_service_url.get_secret_value()),
    }
    return {
        whose: make(settings.ledger_target, url, ca_file=settings.ledger_ca_file)
        for whose, (make, url) in users.items()
        if url
    }


def driver_here(settings: Settings) -> str:
    """Who drives a job that this process runs.

    The name of the host is noted in the home when it is first asked for: a container has another one at
    each start, and its home stays.
    """
    make_home(settings)
    noted = settings.home / "host"
    try:
        if not noted.exists():
            written = settings.home / f"host.{os.getpid()}"  # whole or not at all: others may read at once
            written.write_text(socket.gethostname(), encoding="utf-8")
            written.replace(noted)
        return embedded_on(noted.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"PICTOR_HOME: file {noted} cannot be read or written") from err


def job_locks(settings: Settings) -> Path:
    """The folder of locks of embedded jobs: beside a ledger that is a file, whoever else uses it."""
    from pipeline.adapters.ledger.engine import folder_of, read_url

    return (folder_of(read_url(settings.ledger_target)) or settings.home) / "locks"


def make_home(settings: Settings) -> None:
    make_private(settings.home)


def load_model_spec(
    address: str, settings: Settings, *, precision: str = "", handover: Handover = CLOSED
) -> ModelSpec:
    """The spec of a model, which takes reading its weights.

    Args:
        precision: that of the settings unless it is given. A model in int8 is another model.
        handover: keeps the weights for `load_model`.
    """
    if address == DEFAULT_MODEL:
        from pipeline.adapters.models.builtin_spec import builtin_spec

        return builtin_spec()
    from pipeline.adapters.models.catalogue import load_spec

    return load_spec(
        address,
        weights_dir=settings.weights_dir,
        precision=precision or settings.precision,
        fetch_s3=_weights_fetcher(settings),
        model_store=settings.model_store,
        handover=handover,
    )


def load_model(
    address: str,
    settings: Settings,
    *,
    precision: str,
    batches: int = 0,
    processes: int = 1,
    before_pass: Callable[[], None] = lambda: None,
    beside: Sequence[ModelBeside] = (),
    handover: Handover = CLOSED,
) -> ImageEmbedder:
    """Load the weights. Of several models, those of the first.

    Args:
        handover: may have the weights already.
        beside: see `catalogue.load_embedder`.
        precision: see `choose_precision`.
        batches: at once in this process; 0 for single queries.
        processes: that do the same on this machine.
        before_pass: called before each forward pass, which it may hold up.
    """
    from pipeline.adapters.models.catalogue import load_embedder

    return load_embedder(
        address,
        weights_dir=settings.weights_dir,
        device=settings.device,
        precision=precision,
        backend=settings.backend,
        group_items=settings.group_items,
        batches=batches,
        threads=_device_threads(settings, processes),
        before_pass=before_pass,
        fetch_s3=_weights_fetcher(settings),
        model_store=settings.model_store,
        beside=beside,
        handover=handover,
    )


def _device_threads(settings: Settings, processes: int) -> int:
    return settings.device_threads or max(1, read_share().cores // processes)


def fixed_backend(address: str) -> str:
    """What runs a model, whatever PICTOR_BACKEND says. Empty: there is a choice."""
    from pipeline.adapters.models.catalogue import fixed_backend as backend_of

    return backend_of(address)


def bench_backends(address: str, settings: Settings) -> "Sequence[Trial]":
    """Try all backends on this machine's CPU, as a job does that runs alone. The first is torch."""
    from pipeline.adapters.models.catalogue import bench_backends as bench

    make_home(settings)
    return bench(
        address,
        _job_work(settings),
        weights_dir=settings.weights_dir,
        fetch_s3=_weights_fetcher(settings),
        model_store=settings.model_store,
    )


def calibrate_model(address: str, sample: "Sample", settings: Settings) -> "Calibration":
    """Calibrate a model for int8 on a sample of images. See `backends.calibrate.calibrate`."""
    from pipeline.adapters.models.catalogue import calibrate_model as calibrate

    make_home(settings)
    return calibrate(
        address,
        sample,
        weights_dir=settings.weights_dir,
        fetch_s3=_weights_fetcher(settings),
        model_store=settings.model_store,
    )


def known_trials(spec: ModelSpec, settings: Settings) -> "Sequence[Trial] | None":
    """What `bench_backends` or the first load of a job found. None: there was neither here."""
    from pipeline.adapters.models.backends.choose import FOLDER, remembered_trials

    return remembered_trials(spec, _job_work(settings), folder=settings.weights_dir / FOLDER)


def pick_trial(trials: "Sequence[Trial]") -> "Trial":
    from pipeline.adapters.models.backends.trial import pick

    return pick(trials)


def _job_work(settings: Settings) -> "Work":
    from pipeline.adapters.models.backends.choose import plan_work

    return plan_work(
        precision=settings.precision,
        group_items=settings.group_items,
        batches=settings.batch_threads,
        threads=_device_threads(settings, 1),
    )


def finder_of(spec: ModelSpec, settings: Settings) -> ViewFinder | None:
    """Of a model that looks at views. It is loaded for the first picture."""
    if not spec.has_views:
        return None

    def load() -> ViewFinder:
        from pipeline.adapters.models.catalogue import load_finder

        return load_finder(spec, weights_dir=settings.weights_dir, fetch_s3=_weights_fetcher(settings))

    return LazyFinder(load)


def load_texts(address: str, settings: Settings, *, beside: Sequence[ModelBeside] = ()) -> TextEmbedder:
    """The text tower of a model, without its image tower. Of several models, that of the first.

    Args:
        beside: see `catalogue.load_text_embedder`.

    Raises:
        ModelError: it has none.
    """
    from pipeline.adapters.models.catalogue import load_text_embedder

    return load_text_embedder(
        address,
        weights_dir=settings.weights_dir,
        fetch_s3=_weights_fetcher(settings),
        model_store=settings.model_store,
        beside=beside,
    )


def texts_of(spec: ModelSpec, settings: Settings) -> TextEmbedder | None:
    """Of a model that reads text. It is loaded when it is first asked."""

    def load() -> TextEmbedder:
        loaded = load_texts(spec.address, settings, beside=spec.beside)
        _check_same(loaded.spec, spec)
        return loaded

    return LazyTexts(spec, load) if spec.reads_text else None


def texts_beside(spec: ModelSpec, settings: Settings) -> Mapping[str, TextEmbedder]:
    """Of the models beside it that read text, by the names of their embeddings."""
    towers = {one.name: texts_of(one.spec, settings) for one in spec.beside}
    return {embedding: texts for embedding, texts in towers.items() if texts is not None}


def _check_same(loaded: ModelSpec, known: ModelSpec) -> None:
    if loaded.fingerprint != known.fingerprint:
        raise ModelError(
            f"model {known.address} had fingerprint {known.fingerprint[:8]} when this process was started, "
            f"and has {loaded.fingerprint[:8]} now; start it again"
        )


def list_models(settings: Settings) -> "list[CatalogueEntry]":
    from pipeline.adapters.models.catalogue import list_models as list_catalogue

    return list_catalogue(weights_dir=settings.weights_dir)


def pull_model(address: str, settings: Settings, *, revision: str) -> "PulledModel":
    from pipeline.adapters.models.catalogue import pull_model as pull

    make_home(settings)
    return pull(address, weights_dir=settings.weights_dir, revision=revision)


def list_face_networks() -> "Sequence[KnownNetwork]":
    """Networks for faces that others publish. Pictor ships and fetches none of them."""
    from pipeline.adapters.models.faces.known import KNOWN_NETWORKS

    return KNOWN_NETWORKS


def lazy_model(
    requested: str,
    settings: Settings,
    *,
    existing: CollectionInfo | None,
    spec: ModelSpec | None = None,
    batches: int = 0,
    processes: int = 1,
) -> LazyEmbedder:
    """The model that was asked for, or the collection's own. Its weights are loaded for the first image.

    Args:
        existing: the collection that it is for, if it is there already.
        spec: the model's, when another process has read it.
        batches, processes: see `load_model`.

    Raises:
        ModelError: as `load_model_spec` does; and with the first image, when the weights are not those of the
            spec.
    """
    address = choose_model(requested, existing)
    is_other = existing is not None and spec is not None and existing.fingerprint != spec.fingerprint
    precision = choose_precision(settings.precision, None if is_other else existing)
    handover = Handover(is_open=batches > 0)  # who embeds will want the weights
    known = spec or load_model_spec(address, settings, precision=precision, handover=handover)
    return _lazy(
        known,
        address,
        settings,
        precision=precision,
        batches=batches,
        processes=processes,
        handover=handover,
    )


def models_beside(
    spec: ModelSpec,
    settings: Settings,
    *,
    existing: CollectionInfo | None,
    batches: int = 0,
    processes: int = 1,
) -> Mapping[str, ImageEmbedder]:
    """Those beside a model, by name. The weights of each are loaded for the first image.

    Args:
        existing, batches, processes: as they were for `lazy_model`, which gave the first one.
    """
    is_same = existing is not None and existing.fingerprint == spec.fingerprint
    precision = choose_precision(settings.precision, existing if is_same else None)
    return {
        one.name: _lazy(
            one.spec, one.spec.address, settings, precision=precision, batches=batches, processes=processes
        )
        for one in spec.beside
    }


def _lazy(
    spec: ModelSpec,
    address: str,
    settings: Settings,
    *,
    precision: str,
    batches: int,
    processes: int,
    handover: Handover = CLOSED,
) -> LazyEmbedder:
    def load() -> ImageEmbedder:
        loaded = load_model(
            address,
            settings,
            precision=precision,
            batches=batches,
            processes=processes,
            beside=spec.beside,
            handover=handover,
        )
        _check_same(loaded.spec, spec)
        return loaded

    return LazyEmbedder(spec, load)


def model_loader(
    settings: Settings, *, batches: int = 0, before_pass: Callable[[], None] = lambda: None
) -> Callable[[str, str], ImageEmbedder]:
    """Loads a model by its address and a precision. Args: `batches` and `before_pass`: see `load_model`."""
    return lambda address, precision: load_model(
        address, settings, precision=precision, batches=batches, before_pass=before_pass
    )


def model_of_generation(
    target: CollectionRef, index: VectorIndex, settings: Settings, *, batches: int = 0
) -> LazyEmbedder:
    """The model whose vectors a generation holds, for a job that goes on.

    It may have moved to PICTOR_MODEL, which may also be another one: for collections that are made.

    Raises:
        NotFoundError: the collection does not exist any more.
        ModelMismatchError: it belongs to another model.
    """
    info = find_generation(target, index)
    embedder = lazy_model(settings.model, settings, existing=info, batches=batches)
    if embedder.spec.fingerprint != info.fingerprint:
        embedder = lazy_model("", settings, existing=info, batches=batches)
    check_binding(info, embedder.spec)
    return embedder


def embedded_deps(
    settings: Settings,
    *,
    store: ObjectStore,
    index: VectorIndex,
    embedder: ImageEmbedder,
    ledger: Ledger,
    existing: CollectionInfo | None = None,
    policies: PolicyBook | None = None,
    of_folder: bool = False,
) -> Deps:
    """The ports for a job that runs in this process.

    Args:
        existing: the collection that it is for, if it is there already.
        policies: for a job that may make its collection.
        of_folder: the job reads a folder, and no bucket of S3.
    """
    load = replace(load_of_model(embedder.spec, batches=settings.batch_threads), of_folder=of_folder)
    return Deps(
        store=store,
        index=index,
        embedder=embedder,
        ledger=ledger,
        concurrency=concurrency_of(settings, load),
        finder=finder_of(embedder.spec, settings),
        beside=models_beside(embedder.spec, settings, existing=existing, batches=settings.batch_threads),
        policies=policies,
    )


def _weights_fetcher(settings: Settings) -> Callable[[str], bytes]:
    def fetch(url: str) -> bytes:
        bucket, key = split_s3_url(url)
        store = open_s3(settings)
        return store.get(store.stat(bucket, key), max_bytes=MAX_WEIGHTS_BYTES).body

    return fetch
