"""The deadline of one image: looked at between the steps of its work, by a clock that is passed in."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.adapters.models.catalogue import load_finder, load_spec
from pipeline.adapters.models.faces.detections import Detections, suppress
from pipeline.errors import ImageError
from pipeline.image.decode import DecodedImage, decode_stored_colours
from pipeline.image.decode.work import Deadline
from pipeline.ingest.phase_clock import PhaseClock
from pipeline.ingest.prepare import prepare_all
from pipeline.ingest.view_search import find_views
from pipeline.ports import Concurrency, ImageLimits
from pipeline.ports.embedder import never_late
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import FailedAt, FetchedObject, Pixels, Prepared, Reason, Rejected, View
from tests.face_models import DrawnFace, picture, write_face_model
from tests.image_files import encode
from tests.long_files import bmp_of_runs
from tests.unit.fakes import BUCKET, SPEC, ref_of

LIMITS = ImageLimits()
THREE_FACES = picture([DrawnFace(person=n, column=9 * n) for n in range(3)])
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8))
# Of 100 kB and more: they are read in pieces of 64 KiB.
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "progressive jpeg, scaled": ("JPEG", {"progressive": True}),
    "tiff": ("TIFF", {}),
    "gif": ("GIF", {}),
}


def late_from(first: int, *, time_s: float = LIMITS.decode_deadline_s + 1) -> Callable[[], float]:
    """A clock whose looks, from this one on and counted from 0, show this time. Before, it shows 0."""
    looks = count()
    return lambda: 0.0 if next(looks) < first else time_s


def decode(body: bytes, now: Callable[[], float], *, target_px: int = 256) -> DecodedImage | ImageError:
    try:
        return decode_stored_colours(body, limits=LIMITS, target_px=target_px, now=now)
    except ImageError as error:
        return error


def looks_of(body: bytes, *, target_px: int) -> int:
    """How often the clock is looked at while a picture is decoded."""
    found = 0

    def now() -> float:
        nonlocal found
        found += 1
        return 0.0

    assert isinstance(decode(body, now, target_px=target_px), DecodedImage)
    return found


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_every_format_has_a_deadline(format_name: str) -> None:
    body = encode(NOISE, format_name)
    late = decode(body, late_from(1))
    assert isinstance(late, ImageError)
    assert late.reason is Reason.TIMEOUT
    assert late.detail == "not decoded within 60 s of processor time"
    in_time = decode(body, late_from(1, time_s=LIMITS.decode_deadline_s))
    assert isinstance(in_time, DecodedImage)


@pytest.mark.parametrize("name", LONG)
def test_the_deadline_ends_a_picture_while_it_is_read(name: str) -> None:
    format_name, options = LONG[name]
    body = encode(NOISE, format_name, **options)
    looks = looks_of(body, target_px=16)
    assert looks >= 4  # the start, opened, the first piece, the second
    for last in range(1, looks):
        outcome = decode(body, late_from(last), target_px=16)
        assert isinstance(outcome, ImageError)
        assert outcome.reason is Reason.TIMEOUT


def test_run_lengths_are_read_in_python_and_looked_at_now_and_then() -> None:
    body = bmp_of_runs(0) + (b"\1\7" * 48 + b"\0\0") * 36
    assert 5 <= looks_of(body, target_px=16) <= 40


def faces_of(model_file: Path, now: Callable[[], float]) -> Prepared | ImageError:
    finder = load_finder(
        load_spec(str(model_file), weights_dir=model_file.parent), weights_dir=model_file.parent
    )
    try:
        return find_views(ref_of("a.png"), FetchedObject(body=THREE_FACES), finder, LIMITS, now=now)
    except ImageError as error:
        return error


def test_the_deadline_covers_finding_faces_and_cutting_out_each(tmp_path: Path) -> None:
    model_file, looks = write_face_model(tmp_path), 0

    def now() -> float:
        nonlocal looks
        looks += 1
        return 0.0

    prepared = faces_of(model_file, now)
    assert isinstance(prepared, Prepared)
    assert len(prepared.views) == 3
    of_decoding = looks_of(THREE_FACES, target_px=1000) + 1
    assert looks >= of_decoding + 8, "the look, its tile, three that are kept, and three crops"
    for last in range(2, looks):  # 0 and 1 begin both deadlines
        late = faces_of(model_file, late_from(last))
        assert isinstance(late, ImageError)
        assert late.reason is Reason.TIMEOUT
        words = "not searched for faces" if last >= of_decoding else "not decoded"
        assert late.detail == f"{words} within 60 s of processor time"


def test_a_picture_of_nothing_but_faces_is_ended_while_the_best_are_chosen() -> None:
    corners = np.indices((40, 40)).reshape(2, -1).T * 16.0
    found = Detections(
        boxes=np.concatenate([corners, corners + 15], axis=1),
        points=np.zeros((len(corners), 5, 2)),
        scores=np.full(len(corners), 0.9),
    )
    deadline = Deadline(1, now=late_from(100))
    with pytest.raises(ImageError):
        suppress(found, max_overlap=0.3, check_time=deadline.check_time)


def test_a_batch_goes_on_after_an_image_that_takes_too_long() -> None:
    """The finder is given the clock of the thread that decodes, and its error is the image's."""
    store = MemoryStore(BUCKET)
    for key in ("late.png", "quick.png"):
        store.put(BUCKET, key, picture([DrawnFace(person=1, column=1)]))

    class LateOnce:
        min_side_px = 1000

        def __init__(self) -> None:
            self.calls = 0

        def find_views(self, rgb: Pixels, *, check_time: Callable[[], None] = never_late) -> Sequence[View]:
            self.calls += 1
            while self.calls == 1:  # until the deadline ends it
                check_time()
            return ()

    outcomes = prepare_all(
        list(store.list_objects(BUCKET)),
        store,
        SPEC.preprocessing,
        ImageLimits(decode_deadline_s=0.05),
        PhaseClock(),
        concurrency=Concurrency(fetch_threads=1, decode_threads=1),
        finder=LateOnce(),
    )
    late, quick = outcomes
    assert isinstance(late, Rejected)
    assert (late.stage, late.reason) == (FailedAt.DECODE, Reason.TIMEOUT)
    assert isinstance(quick, Prepared)
