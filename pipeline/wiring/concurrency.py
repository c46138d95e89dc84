"""How many threads a process gets, by what it loads."""

import logging
from collections.abc import Iterable

from pipeline.capacity import Load, fit_threads, needed_bytes
from pipeline.cgroup import Share, read_share
from pipeline.errors import ModelError
from pipeline.ports import Concurrency, ImageLimits
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.types import CollectionInfo, Job, ModelSpec

logger = logging.getLogger(__name__)


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
