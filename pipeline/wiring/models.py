"""Models, with their weights read now."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.adapters.models.opened import CLOSED, Handover
from pipeline.cgroup import read_share
from pipeline.ports import ImageEmbedder, TextEmbedder
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.types import ModelBeside, ModelSpec
from pipeline.wiring.home import make_home
from pipeline.wiring.stores import weights_fetcher

if TYPE_CHECKING:
    from pipeline.adapters.models.catalogue import CatalogueEntry
    from pipeline.adapters.models.faces.known import KnownNetwork
    from pipeline.adapters.models.family import PulledModel


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
        fetch_s3=weights_fetcher(settings),
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
        threads=device_threads(settings, processes),
        before_pass=before_pass,
        fetch_s3=weights_fetcher(settings),
        model_store=settings.model_store,
        beside=beside,
        handover=handover,
    )


def device_threads(settings: Settings, processes: int) -> int:
    return settings.device_threads or max(1, read_share().cores // processes)


def model_loader(
    settings: Settings, *, batches: int = 0, before_pass: Callable[[], None] = lambda: None
) -> Callable[[str, str], ImageEmbedder]:
    """Loads a model by its address and a precision. Args: `batches` and `before_pass`: see `load_model`."""
    return lambda address, precision: load_model(
        address, settings, precision=precision, batches=batches, before_pass=before_pass
    )


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
        fetch_s3=weights_fetcher(settings),
        model_store=settings.model_store,
        beside=beside,
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
