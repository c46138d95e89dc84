"""From one reference to pixels: fetch, decode and resize."""

import time
from collections.abc import Callable, Mapping
from threading import Semaphore
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipeline.errors import ImageError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.same_faces import face_of_key
from pipeline.ports import ImageLimits, ObjectReader, ViewFinder, misfit_of
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.types import (
    Box,
    FailedAt,
    FetchedObject,
    ObjectRef,
    Pixels,
    Prepared,
    Preprocessing,
    Reason,
    Rejected,
    View,
    split_metadata,
)

if TYPE_CHECKING:
    from pipeline.image.decode import DecodedImage


NONE_BESIDE: Mapping[str, Preprocessing] = MappingProxyType({})


def prepare_one(
    ref: ObjectRef,
    store: ObjectReader,
    spec: Preprocessing,
    limits: ImageLimits,
    clock: PhaseClock,
    decode_slots: Semaphore,
    *,
    jpeg_device: str = "",
    finder: ViewFinder | None = None,
    beside: Mapping[str, Preprocessing] = NONE_BESIDE,
) -> Prepared | Rejected:
    """The ONE place where an image error becomes data."""
    stage = FailedAt.FETCH
    try:
        with clock.measure("fetch"):
            fetched = fetch_object(ref, store, limits)
        clock.count_fetched(len(fetched.body))
        stage = FailedAt.DECODE
        with decode_slots, clock.measure("decode"):
            return _decode(ref, fetched, spec, limits, jpeg_device, finder, beside)
    except ImageError as err:
        return Rejected(ref=ref, stage=stage, reason=err.reason, detail=err.detail)


def _decode(
    ref: ObjectRef,
    fetched: FetchedObject,
    spec: Preprocessing,
    limits: ImageLimits,
    jpeg_device: str,
    finder: ViewFinder | None,
    beside: Mapping[str, Preprocessing],
) -> Prepared:
    try:
        if finder is not None:
            return find_views(ref, fetched, finder, limits)
        return decode_object(ref, fetched, spec, limits, jpeg_device=jpeg_device, beside=beside)
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


def find_views(
    ref: ObjectRef,
    fetched: FetchedObject,
    finder: ViewFinder,
    limits: ImageLimits,
    *,
    now: Callable[[], float] = time.thread_time,
) -> Prepared:
    """Turn bytes into the input of a model that looks at parts of an image. Raises ImageError.

    Args:
        now: the clock of the deadline, seconds. One deadline covers decoding and finding.
    """
    from pipeline.image.decode import decode_stored_colours
    from pipeline.image.decode.work import Deadline

    deadline = Deadline(limits.decode_deadline_s, now=now, late="not searched for faces")
    image = decode_stored_colours(fetched.body, limits=limits, target_px=finder.min_side_px, now=now)
    found = finder.find_views(image.rgb, check_time=deadline.check_time)[:MAX_VIEWS]
    deadline.check_time()
    views = face_of_key([_in_original(view, image) for view in found], ref.key)
    return Prepared(
        ref=ref,
        views=tuple(views),
        width=image.width,
        height=image.height,
        metadata=split_metadata(fetched.metadata)[0],  # those names belong to what is said of views
    )


def _in_original(view: View, image: "DecodedImage") -> View:
    """With its place in the upright original, and in the colours that the model knows."""
    pixels = view.pixels if image.conversion is None else image.conversion.convert_planes(view.pixels)
    if view.box is None:
        return View(pixels=pixels)
    height, width = image.rgb.shape[:2]
    x, y = image.width / width, image.height / height
    box = Box(
        left=round(view.box.left * x),
        top=round(view.box.top * y),
        width=round(view.box.width * x),
        height=round(view.box.height * y),
    )
    return View(pixels=pixels, box=box, face=view.face and view.face.scaled(x, y))
