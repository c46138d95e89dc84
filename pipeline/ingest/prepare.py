"""From references to pixels: fetch, decode and resize, on threads ahead of whoever consumes them."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from threading import Semaphore
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import ImageError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.reuse import changed_refs, look_up_versions, reuse_vectors
from pipeline.ingest.same_faces import metadata_of_kept
from pipeline.ports import Concurrency, Deps, ImageLimits, ObjectReader, ViewFinder, misfit_of
from pipeline.ports.embedder import check_beside, check_finder
from pipeline.types import (
    CollectionRef,
    EmbedBatch,
    FailedAt,
    FetchedObject,
    ModelSpec,
    ObjectRef,
    Pixels,
    Prepared,
    PreparedBatch,
    Preprocessing,
    Reason,
    Rejected,
    View,
)

if TYPE_CHECKING:
    from pipeline.image.decode import DecodedImage

T = TypeVar("T")

NONE_BESIDE: Mapping[str, Preprocessing] = MappingProxyType({})


@contextmanager
def prepare_batch(
    batch: EmbedBatch, deps: Deps, limits: ImageLimits, clock: PhaseClock
) -> Iterator[PreparedBatch]:
    """The changed objects of a batch, read from the store. Threads work ahead until it is left."""
    stored = look_up_versions(batch, deps.index, clock)
    changed = changed_refs(batch, stored)
    reused = reuse_vectors(batch, changed, deps, clock)
    done = {item.ref.image_id for item in reused}
    fresh = [ref for ref in changed if ref.image_id not in done]
    with closing(prepare_refs(fresh, batch.target, deps, limits, clock)) as prepared:
        yield PreparedBatch(
            outcomes=chain(reused, prepared),
            stored={image_id: version.rows for image_id, version in stored.items()},
        )


def prepare_refs(
    refs: Sequence[ObjectRef], target: CollectionRef, deps: Deps, limits: ImageLimits, clock: PhaseClock
) -> Generator[Prepared | Rejected]:
    """`prepare_all` for objects of the store and the model of this process."""
    spec = deps.embedder.spec
    check_finder(spec, deps.finder)
    check_beside(spec, deps.beside)
    kept = metadata_of_kept(refs, target, deps.index) if deps.finder is not None else {}
    outcomes = prepare_all(
        refs,
        deps.store,
        spec.preprocessing,
        limits,
        clock,
        concurrency=deps.concurrency,
        finder=deps.finder,
        beside=preprocessing_beside(spec),
    )
    with closing(outcomes):
        for outcome in outcomes:
            known = kept.get(outcome.ref.image_id)
            if known is not None and isinstance(outcome, Prepared):
                yield replace(outcome, metadata=known)
            else:
                yield outcome


def preprocessing_beside(spec: ModelSpec) -> Mapping[str, Preprocessing]:
    """How the models beside the first want an image, by name."""
    return {model.name: model.spec.preprocessing for model in spec.beside}


def prepare_all(
    refs: Sequence[ObjectRef],
    store: ObjectReader,
    spec: Preprocessing,
    limits: ImageLimits,
    clock: PhaseClock,
    *,
    concurrency: Concurrency,
    finder: ViewFinder | None = None,
    beside: Mapping[str, Preprocessing] = NONE_BESIDE,
    decode_slots: Semaphore | None = None,
) -> Generator[Prepared | Rejected]:
    """One outcome per reference, in order.

    At most two groups of finished pixels wait for the consumer, and at most `fetch_threads` bodies are in
    memory. Closing the iterator early stops the threads. Without `concurrency.works_ahead` there are none,
    and an image is prepared when it is asked for.

    Args:
        beside: see `decode_object`.
        decode_slots: shared with others. By default `decode_threads` of this call alone.

    Raises:
        TransientError, FatalError: the store is away or refuses this process. No image is to blame.
    """
    slots = decode_slots or Semaphore(concurrency.decode_threads)

    def decode(ref: ObjectRef, fetched: FetchedObject) -> Prepared:
        if finder is None:
            return decode_object(
                ref, fetched, spec, limits, jpeg_device=concurrency.jpeg_device, beside=beside
            )
        from pipeline.ingest.view_search import find_views

        return find_views(ref, fetched, finder, limits)

    def prepare(ref: ObjectRef) -> Prepared | Rejected:
        return prepare_one(ref, store, limits, clock, slots, decode)

    if not concurrency.works_ahead:
        in_turn = map(prepare, refs) if finder is None else _search(refs, store, finder, limits, clock, slots)
        yield from in_turn
        return
    ahead = 2 * concurrency.group_items
    with ThreadPoolExecutor(concurrency.fetch_threads, thread_name_prefix="prepare") as pool:
        try:
            yield from _in_order(pool, prepare, refs, ahead)
        finally:
            pool.shutdown(cancel_futures=True)


def _search(
    refs: Sequence[ObjectRef],
    store: ObjectReader,
    finder: ViewFinder,
    limits: ImageLimits,
    clock: PhaseClock,
    slots: Semaphore,
) -> Generator[Prepared | Rejected]:
    """By the thread that asks, a few images at once."""
    # Imported at the first image: torch costs seconds, and a run that finds nothing new never needs it.
    from pipeline.ingest.view_search import ViewSearch, search_together

    def begin(ref: ObjectRef) -> ViewSearch | Rejected:
        return prepare_one(
            ref, store, limits, clock, slots, lambda ref, fetched: ViewSearch(ref, fetched, finder, limits)
        )

    @contextmanager
    def hold() -> Iterator[None]:
        with slots, clock.measure("decode"):
            yield

    yield from search_together(map(begin, refs), hold)


def prepare_one(
    ref: ObjectRef,
    store: ObjectReader,
    limits: ImageLimits,
    clock: PhaseClock,
    decode_slots: Semaphore,
    decode: Callable[[ObjectRef, FetchedObject], T],
) -> T | Rejected:
    """The place where an error of one image becomes data. Those of `view_search` do so there."""
    stage = FailedAt.FETCH
    try:
        with clock.measure("fetch"):
            fetched = fetch_object(ref, store, limits)
        clock.count_fetched(len(fetched.body))
        stage = FailedAt.DECODE
        with decode_slots, clock.measure("decode"):
            return _decode(ref, fetched, decode)
    except ImageError as err:
        return Rejected(ref=ref, stage=stage, reason=err.reason, detail=err.detail)


def _decode(ref: ObjectRef, fetched: FetchedObject, decode: Callable[[ObjectRef, FetchedObject], T]) -> T:
    try:
        return decode(ref, fetched)
    except ImageError as err:
        if err.reason is Reason.NOT_AN_IMAGE and fetched.encoding:
            words = f"{err.detail}, stored with Content-Encoding {fetched.encoding!r}"
            raise ImageError(err.reason, words) from err
        raise


def fetch_object(ref: ObjectRef, store: ObjectReader, limits: ImageLimits) -> FetchedObject:
    """Read one object. One that is too large by its listing is not read at all. Raises ImageError."""
    if ref.size_bytes > limits.max_object_bytes:
        raise ImageError(
            Reason.TOO_LARGE, f"{ref.size_bytes} bytes are over the limit of {limits.max_object_bytes}"
        )
    _check_texts(ref)
    fetched = store.get(ref, max_bytes=limits.max_object_bytes)
    if not fetched.body:
        raise ImageError(Reason.EMPTY, "the object has no bytes")
    _check_texts(ref, fetched.metadata)
    return fetched


def _check_texts(ref: ObjectRef, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    if misfit := misfit_of(ref, metadata):
        raise ImageError(Reason.TOO_LARGE, misfit)


def decode_object(
    ref: ObjectRef,
    fetched: FetchedObject,
    spec: Preprocessing,
    limits: ImageLimits,
    *,
    jpeg_device: str = "",
    beside: Mapping[str, Preprocessing] = NONE_BESIDE,
) -> Prepared:
    """Turn bytes into the input of a model of whole images, and of those beside it, by one decode.

    Args:
        beside: how these want it, by name. Pixels of any model depend on all of them, a little: the decoder
            leaves as many as the largest input needs.

    Raises:
        ImageError: the bytes, or what is in them.
    """
    # Imported at the first image: torch costs seconds, and a run that finds nothing new never needs it.
    from pipeline.image.decode import PlanesImage, decode_on_gpu, decode_stored_colours
    from pipeline.image.preprocess import planes_to_model_input, to_model_input

    target_px = max(map(_target_px, (spec, *beside.values())))
    ordinary = None
    if jpeg_device:
        ordinary = decode_on_gpu(fetched.body, limits=limits, target_px=target_px, device=jpeg_device)
    image: DecodedImage | PlanesImage = ordinary or decode_stored_colours(
        fetched.body, limits=limits, target_px=target_px
    )

    def to_input(wanted: Preprocessing) -> Pixels:
        if isinstance(image, PlanesImage):
            pixels = planes_to_model_input(image.planes, wanted)
        else:
            pixels = to_model_input(image.rgb, wanted)
        # Converted where the pixels are fewest: it costs as much for each.
        return pixels if image.conversion is None else image.conversion.convert_planes(pixels)

    inputs = {name: to_input(wanted) for name, wanted in beside.items()}
    return Prepared(
        ref=ref,
        views=(View(pixels=to_input(spec), beside=inputs),),
        width=image.width,
        height=image.height,
        metadata=fetched.metadata,
    )


def _target_px(spec: Preprocessing) -> int:
    """The shorter side that is resized to."""
    return spec.crop if spec.fit == "stretch" else spec.resize


def _in_order(
    pool: ThreadPoolExecutor,
    prepare: Callable[[ObjectRef], Prepared | Rejected],
    refs: Sequence[ObjectRef],
    ahead: int,
) -> Iterator[Prepared | Rejected]:
    waiting: deque[Future[Prepared | Rejected]] = deque()
    for ref in refs:
        waiting.append(pool.submit(prepare, ref))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
