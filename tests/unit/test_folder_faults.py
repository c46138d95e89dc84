"""Disks and networks that fail while a folder is read: try again, and nothing counts as gone.

A subtree that reads as empty would have a sync remove its images.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder.open import SystemCalls
from pipeline.adapters.folder.store import FolderStore
from pipeline.embedded import DriverOptions, run_job
from pipeline.errors import ImageError, TransientError
from pipeline.ports import Deps
from pipeline.service.submit import open_job
from pipeline.types import NOT_FOLLOWED, Job, ObjectRef, Reason
from tests.histories import check_adds_up
from tests.unit.fakes import HERE, LIMITS, distinct_png, indexed_keys, request_of

MB = 2**20
AWAY = [
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOTCONN,  # a FUSE process that died
    errno.EHOSTDOWN,
    errno.ENODEV,
    errno.EAGAIN,
    errno.EUCLEAN,  # damage within the file system
]
NAMES = [errno.errorcode[number] for number in AWAY]
KEYS = ["a.jpg", "b/c.jpg", "b/d/e.jpg", "z.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key in KEYS:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"x")
    return tmp_path


def failing(call: Callable[..., Any], number: int, *, at: bytes) -> Callable[..., Any]:
    """A system call that fails on one name, or on the descriptor of what lies at one path."""

    def fail_or_call(path: Any, *rest: Any, **more: Any) -> Any:
        name = os.fsencode(Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else path)
        if name.split(b"/")[-1] == at:
            raise OSError(number, os.strerror(number), path)
        return call(path, *rest, **more)

    return fail_or_call


class FailingEntries:
    """A directory that can be opened, and breaks off after some of its names."""

    def __init__(self, descriptor: int, number: int) -> None:
        self._entries = os.scandir(descriptor)
        self._number = number

    def __enter__(self) -> "FailingEntries":
        return self

    def __exit__(self, *_: object) -> None:
        self._entries.close()

    def __iter__(self) -> Any:
        yield next(self._entries)
        raise OSError(self._number, os.strerror(self._number))


def listed(root: Path, calls: SystemCalls, prefix: str = "", start_after: str = "") -> list[ObjectRef]:
    return list(FolderStore(calls=calls).list_objects(str(root), prefix, start_after or None))


@pytest.mark.parametrize("number", AWAY, ids=NAMES)
@pytest.mark.parametrize("at", [b"b", b"d", b"c.jpg"])
@pytest.mark.parametrize("call", ["open", "scandir", "stat"])
def test_what_cannot_be_read_at_the_moment_ends_the_listing(
    folder: Path, call: str, at: bytes, number: int
) -> None:
    calls = SystemCalls(**{call: failing(getattr(os, call), number, at=at)})
    is_asked = (call == "stat") == (at == b"c.jpg")  # directories are opened and scanned, files asked about
    if not is_asked:
        assert [ref.key for ref in listed(folder, calls)] == KEYS
        return
    with pytest.raises(TransientError) as error:
        listed(folder, calls)
    assert errno.errorcode[number] in str(error.value)
    assert str(folder / "b") in str(error.value)


@pytest.mark.parametrize("number", AWAY, ids=NAMES)
def test_a_directory_that_breaks_off_ends_the_listing(folder: Path, number: int) -> None:
    with pytest.raises(TransientError):
        listed(folder, SystemCalls(scandir=lambda descriptor: FailingEntries(descriptor, number)))


@pytest.mark.parametrize("number", AWAY, ids=NAMES)
def test_a_link_that_cannot_be_read_at_the_moment_leads_somewhere(folder: Path, number: int) -> None:
    (folder / "link").symlink_to("b")
    for calls in (
        SystemCalls(realpath=failing(os.path.realpath, number, at=b"link")),
        SystemCalls(stat=failing(os.stat, number, at=b"b")),
    ):
        with pytest.raises(TransientError):
            listed(folder, calls)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM], ids=["EACCES", "EPERM"])
def test_what_may_not_be_read_is_listed_to_keep_what_it_holds(folder: Path, number: int) -> None:
    (folder / "link").symlink_to("b")
    for call in ("open", "scandir"):
        found = listed(folder, SystemCalls(**{call: failing(getattr(os, call), number, at=b"b")}))
        assert [(ref.key, ref.etag) for ref in found if not ref.etag] == [("b/", ""), ("link/", "")]
    inside = PermissionError(number, "denied", os.fsencode(folder / "b"))

    def refuse(path: Any, **more: Any) -> Any:
        if os.fsencode(path).endswith(b"/link"):
            raise inside
        return os.path.realpath(path, **more)

    found = listed(folder, SystemCalls(realpath=refuse))
    assert [ref.key for ref in found if not ref.etag] == ["link/"]
    inside.filename = b"/elsewhere/b"  # a link that leads out is not followed, whoever may read there
    found = listed(folder, SystemCalls(realpath=refuse))
    assert [ref.key for ref in found if ref.etag == NOT_FOLLOWED] == ["link"]


def test_a_file_behind_a_link_that_may_not_be_looked_at_is_not_called_gone(folder: Path) -> None:
    """A sync asks about each object once more before it removes it."""
    (folder / "link").symlink_to("b")
    denied = failing(os.path.realpath, errno.EACCES, at=b"c.jpg")
    with pytest.raises(ImageError) as error:
        FolderStore(calls=SystemCalls(realpath=denied)).stat(str(folder), "link/c.jpg")
    assert error.value.reason is Reason.ACCESS_DENIED


@pytest.mark.parametrize("number", AWAY, ids=NAMES)
@pytest.mark.parametrize("call", ["open", "stat", "fstat"])
def test_a_file_that_cannot_be_opened_at_the_moment_is_tried_again(
    folder: Path, call: str, number: int
) -> None:
    [ref] = listed(folder, SystemCalls(), "b/c")
    store = FolderStore(calls=SystemCalls(**{call: failing(getattr(os, call), number, at=b"c.jpg")}))
    with pytest.raises(TransientError):
        store.get(ref, max_bytes=MB)
    with pytest.raises(TransientError):
        store.stat(str(folder), "b/c.jpg")


@pytest.mark.parametrize("number", AWAY, ids=NAMES)
def test_damage_of_one_file_is_its_own_and_all_else_is_tried_again(folder: Path, number: int) -> None:
    [ref] = listed(folder, SystemCalls(), "b/c")
    store = FolderStore(calls=SystemCalls(read=failing(os.read, number, at=b"c.jpg")))
    with pytest.raises((ImageError, TransientError)) as error:
        store.get(ref, max_bytes=MB)
    is_damage = number in (errno.EIO, errno.EUCLEAN)
    assert isinstance(error.value, ImageError) is is_damage
    assert errno.errorcode[number] in str(error.value)


@pytest.mark.parametrize("number", AWAY, ids=NAMES)
def test_a_folder_that_cannot_be_reached_at_the_moment_is_not_called_missing(
    folder: Path, number: int
) -> None:
    name = os.fsencode(folder.name)
    for calls in (
        SystemCalls(open=failing(os.open, number, at=name)),
        SystemCalls(realpath=failing(os.path.realpath, number, at=name)),
    ):
        with pytest.raises(TransientError):
            listed(folder, calls)


@pytest.mark.parametrize("call", ["open", "scandir", "stat", "fstat", "read"])
@pytest.mark.parametrize("at", [b"b", b"d", b"c.jpg"])
def test_no_descriptor_is_left_open_by_a_fault(folder: Path, call: str, at: bytes) -> None:
    [ref] = listed(folder, SystemCalls(), "b/c")
    store = FolderStore(calls=SystemCalls(**{call: failing(getattr(os, call), errno.EIO, at=at)}))
    before = set(Path("/proc/self/fd").iterdir())
    with suppress(TransientError):
        list(store.list_objects(str(folder)))
    with suppress(ImageError, TransientError):
        store.get(ref, max_bytes=MB)
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_a_sync_removes_nothing_that_could_not_be_read(deps: Deps, tmp_path: Path, number: int) -> None:
    root = tmp_path / "photos"
    for place, key in enumerate(KEYS):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(distinct_png(place))
    request = replace(request_of(bucket=str(root)), max_delete_share=1.0)

    def sync(calls: SystemCalls) -> Job:
        present = replace(deps, store=FolderStore(calls=calls))
        job, _ = open_job(request, present, driver=HERE)
        return run_job(job, present, LIMITS, DriverOptions(retry_delays_s=()), on_progress=check_adds_up)

    assert sync(SystemCalls()).counts.indexed == len(KEYS)
    faulty = SystemCalls(scandir=failing(os.scandir, number, at=b"b"))
    if number == errno.EACCES:
        assert sync(faulty).counts.removed == 0
    else:
        with pytest.raises(TransientError):
            sync(faulty)
    assert indexed_keys(deps) == KEYS
    healed = sync(SystemCalls()).counts
    assert (healed.removed, healed.indexed) == (0, 0)
