"""Models whose weights are loaded when the first image, face or text comes."""

from collections.abc import Mapping

from pipeline.adapters.models.opened import CLOSED, Handover
from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder, TextEmbedder, VectorIndex, ViewFinder
from pipeline.ports.lazy import LazyEmbedder, LazyFinder, LazyTexts
from pipeline.ports.model_binding import check_binding, choose_model, choose_precision, find_generation
from pipeline.settings import Settings
from pipeline.types import CollectionInfo, CollectionRef, ModelSpec
from pipeline.wiring.models import load_model, load_model_spec, load_texts
from pipeline.wiring.stores import weights_fetcher


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


def finder_of(spec: ModelSpec, settings: Settings) -> ViewFinder | None:
    """Of a model that looks at views. It is loaded for the first picture."""
    if not spec.has_views:
        return None

    def load() -> ViewFinder:
        from pipeline.adapters.models.catalogue import load_finder

        return load_finder(spec, weights_dir=settings.weights_dir, fetch_s3=weights_fetcher(settings))

    return LazyFinder(load)


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
