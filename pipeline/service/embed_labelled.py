"""Embed labelled images by the path of every other image, with its bounds and reasons."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.errors import ArgumentError, ImageError
from pipeline.evaluation.labelled import LabelledVectors, label_vectors
from pipeline.ingest.embed import embed_all
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ports import Concurrency, ImageEmbedder, ImageLimits, ObjectStore, ViewFinder
from pipeline.ports.embedder import check_finder
from pipeline.service.labelled_images import LabelledImage, LabelledSource
from pipeline.types import Embedded, ObjectRef, Prepared, Rejected, Vector

NOTHING_FOUND = "nothing_found"  # the image was understood, and holds nothing that the model looks for


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPorts:
    store: ObjectStore
    embedder: ImageEmbedder
    concurrency: Concurrency
    finder: ViewFinder | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedImage:
    """`reason` is one of docs/reference/reasons.md, or NOTHING_FOUND."""

    image: LabelledImage
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedImages:
    """`several_views` is how many images had more than one, of which one was taken."""

    source: LabelledSource
    labelled: LabelledVectors
    failed: Sequence[FailedImage]
    several_views: int


def tell_nobody(_done: int) -> None:
    """The default for `tell`."""


def embed_labelled(
    source: LabelledSource,
    ports: EvaluationPorts,
    limits: ImageLimits,
    *,
    tell: Callable[[int], None] = tell_nobody,
) -> EmbeddedImages:
    """One vector for each image. Of several views it is the first, which the finder thinks best of.

    Args:
        tell: called after each image with how many are done. It may take minutes.

    Raises:
        ArgumentError: not one image gave a vector.
    """
    check_finder(ports.embedder.spec, ports.finder)
    refs, failed = _stat_all(source, ports.store)
    image_of = {ref.image_id: image for ref, image in refs}
    vectors: list[Vector] = []
    images: list[LabelledImage] = []
    several_views = 0
    for done, outcome in enumerate(_embed([ref for ref, _ in refs], ports, limits), len(failed) + 1):
        tell(done)
        image = image_of[outcome.ref.image_id]
        if isinstance(outcome, Rejected):
            failed.append(FailedImage(image=image, reason=outcome.reason.value, detail=outcome.detail))
        elif not outcome.vectors:
            failed.append(FailedImage(image=image, reason=NOTHING_FOUND, detail="the model found nothing"))
        else:
            vectors.append(outcome.vectors[0])
            images.append(image)
            several_views += len(outcome.vectors) > 1
    if not vectors:
        first = failed[0]
        raise ArgumentError(
            f"{source.name}: none of {len(failed)} images gave a vector; the first is {first.image.key!r}: "
            f"{first.reason}, {first.detail}"
        )
    labelled = label_vectors(
        vectors,
        [image.person for image in images],
        keys=[image.key for image in images],
        subgroups=[image.subgroups for image in images],
        columns=source.columns,
    )
    return EmbeddedImages(source=source, labelled=labelled, failed=failed, several_views=several_views)


def _stat_all(
    source: LabelledSource, store: ObjectStore
) -> tuple[list[tuple[ObjectRef, LabelledImage]], list[FailedImage]]:
    refs: list[tuple[ObjectRef, LabelledImage]] = []
    failed: list[FailedImage] = []
    for image in source.images:
        try:
            refs.append((image.ref or store.stat(image.bucket, image.key), image))
        except ImageError as err:
            failed.append(FailedImage(image=image, reason=err.reason.value, detail=err.detail))
    return refs, failed


def _embed(
    refs: Sequence[ObjectRef], ports: EvaluationPorts, limits: ImageLimits
) -> Iterator[Embedded | Rejected]:
    clock = PhaseClock()
    prepared: Iterator[Prepared | Rejected] = prepare_all(
        refs,
        ports.store,
        ports.embedder.spec.preprocessing,
        limits,
        clock,
        concurrency=ports.concurrency,
        finder=ports.finder,
    )
    return embed_all(prepared, ports.embedder, ports.concurrency.group_items, clock)
