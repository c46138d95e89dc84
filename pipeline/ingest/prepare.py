"""From references to pixels, on threads ahead of whoever consumes them."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from threading import Semaphore

from pipeline.ingest.one_image import NONE_BESIDE, decode_object, prepare_one
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.reuse import changed_refs, look_up_versions, reuse_vectors
from pipeline.ingest.same_faces import metadata_of_kept
from pipeline.ports import Concurrency, Deps, ImageLimits, ObjectReader, ViewFinder
from pipeline.ports.embedder import check_beside, check_finder
from pipeline.types import (
    CollectionRef,
    EmbedBatch,
    FetchedObject,
    ModelSpec,
    ObjectRef,
    Prepared,
    PreparedBatch,
    Preprocessing,
    Rejected,
)


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
    and an image is prepared when it is asked for; with a finder, a few images are.

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
