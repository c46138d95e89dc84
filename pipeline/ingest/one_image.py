"""From one reference to pixels: fetch, decode and resize."""

from collections.abc import Callable, Mapping
from threading import Semaphore
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import ImageError
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ports import ImageLimits, ObjectReader, misfit_of
from pipeline.types import (
    FailedAt,
    FetchedObject,
    ObjectRef,
    Pixels,
    Prepared,
    Preprocessing,
    Reason,
    Rejected,
    View,
)

if TYPE_CHECKING:
    from pipeline.image.decode import DecodedImage

T = TypeVar("T")

NONE_BESIDE: Mapping[str, Preprocessing] = MappingProxyType({})


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
