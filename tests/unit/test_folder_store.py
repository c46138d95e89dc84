"""What is special about folders: odd names, links, special files, permissions, races."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.folder.keys import key_of_name, name_of_key
from pipeline.adapters.folder.open import SystemCalls
from pipeline.adapters.folder.store import FolderStore
from pipeline.errors import ConfigError, ImageError
from pipeline.types import NOT_FOLLOWED, ObjectRef, Reason

MB = 2**20


def write(root: Path, *names: str | bytes, body: bytes = b"x") -> None:
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def keys(root: Path, prefix: str = "", start_after: str | None = None) -> list[str]:
    return [ref.key for ref in FolderStore().list_objects(str(root), prefix, start_after)]


def read(root: Path, key: str) -> bytes:
    store = FolderStore()
    return store.get(store.stat(str(root), key), max_bytes=MB).body


def reason(error: pytest.ExceptionInfo[ImageError]) -> Reason:
    return error.value.reason


# --- names and keys ---


@given(st.binary(min_size=1))
def test_every_name_has_one_key_and_comes_back_from_it(name: bytes) -> None:
    name = name.replace(b"\0", b"0")
    key = key_of_name(name)
    assert key.encode().decode() == key
    assert name_of_key(key) == name


PUA = st.integers(0xEF70, 0xF00F).map(chr)


@given(st.text(st.characters() | PUA))
def test_no_two_keys_have_the_same_name(key: str) -> None:
    name = name_of_key(key)
    assert name is None or key_of_name(name) == key


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0") | PUA))
def test_a_name_in_utf8_outside_the_escape_range_is_its_own_key(name: str) -> None:
    if not any(0xEF80 <= ord(char) <= 0xEFFF for char in name):
        assert key_of_name(name.encode()) == name


def test_escapes_that_spell_valid_utf8_are_no_key() -> None:
    assert name_of_key("\uefc3\uefa9") is None  # would be a second key of "é"
    assert name_of_key("\udcff") is None
    assert name_of_key("a\0b") is None


def test_files_whose_names_are_not_utf8_are_listed_and_read(tmp_path: Path) -> None:
    write(tmp_path, b"caf\xe9.jpg", body=b"latin-1")
    write(tmp_path, "café.jpg", body=b"utf-8")
    write(tmp_path, "\uefe9.jpg", body=b"private use")
    write(tmp_path, b"\xff/\xfe.jpg", body=b"deep")
    found = {key: read(tmp_path, key) for key in keys(tmp_path)}
    assert found == {
        "caf\uefe9.jpg": b"latin-1",
        "café.jpg": b"utf-8",
        "\uefee\uefbf\uefa9.jpg": b"private use",
        "\uefff/\ueffe.jpg": b"deep",
    }


@pytest.mark.parametrize(
    "key", ["", "a//b", "/a", "a/", "..", "../x", "a/../b", "./a", "a\0b", "\uefc3\uefa9"]
)
def test_keys_that_no_file_can_have_are_never_read_or_written(tmp_path: Path, key: str) -> None:
    write(tmp_path, "in/a/b")
    write(tmp_path, "x")
    store = FolderStore()
    with pytest.raises(ImageError):
        store.stat(str(tmp_path / "in"), key)
    with pytest.raises(ConfigError):
        store.put(str(tmp_path / "in"), key, b"x")
    store.delete(str(tmp_path / "in"), key)
    assert keys(tmp_path) == ["in/a/b", "x"]


# --- listing ---


def test_keys_come_in_byte_order_of_the_whole_key(tmp_path: Path) -> None:
    names = [
        "a-b",
        "a.jpg",
        "a/b",
        "a/b-c",
        "a/b.d/e",
        "a0",
        "B",
        "é",
        "é/x",
        "\U0001f600",
        "\ufffd",
        ".hidden",
    ]
    write(tmp_path, *[name for name in names if name not in ("é", "a/b")], "a/b/z", b"\xff")
    listed = keys(tmp_path)
    assert listed == sorted(listed, key=str.encode)
    assert len(listed) == 12


SEGMENT = st.text(st.sampled_from("ab-./é\uefff\U0001f600"), min_size=1, max_size=4).map(
    lambda text: text.replace("/", "").strip(".") or "a"
)


@given(st.sets(st.lists(SEGMENT, min_size=1, max_size=3).map("/".join), max_size=8), SEGMENT, st.data())
def test_any_prefix_and_start_give_the_slice_of_the_full_listing(
    names: set[str], prefix: str, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            try:
                write(root, name)
            except OSError:
                continue  # a file and a directory of one name cannot both be
        full = keys(root)
        start = data.draw(st.sampled_from([*full, "", "a", "a/", "é"]))
        expected = [key for key in full if key.startswith(prefix) and key > start]
        assert keys(root, prefix, start) == expected


def test_subtrees_before_the_start_or_outside_the_prefix_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "b0/1", "b1/1", "c/1")
    opened: list[object] = []

    def note_and_open(path: str | bytes, *rest: Any, **more: Any) -> int:
        opened.append(path)
        return os.open(path, *rest, **more)

    store = FolderStore(calls=SystemCalls(open=note_and_open))
    assert [ref.key for ref in store.list_objects(str(tmp_path), "b", "b0zzz")] == ["b1/1"]
    assert b"b1" in opened
    assert b"b0" not in opened
    assert b"c" not in opened


def test_directories_nested_deeper_than_the_recursion_limit_are_listed(tmp_path: Path) -> None:
    depth = 300
    write(tmp_path, "d/" * depth + "x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        assert keys(tmp_path) == ["d/" * depth + "x"]
    finally:
        sys.setrecursionlimit(limit)


def test_a_listing_that_is_dropped_half_way_leaves_nothing_open(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/1", "a/b/c/2")
    before = open_descriptors()
    listing = FolderStore().list_objects(str(tmp_path))
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert open_descriptors() == before


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


# --- links and special files ---


def linked(root: Path, links: dict[str, str | Path]) -> None:
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)


def test_links_to_what_lies_inside_are_followed_and_have_keys_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "real/a.jpg", body=b"a")
    write(root, "real/deep/b.jpg", body=b"b")
    links: dict[str, str | Path] = {
        "album/one.jpg": "../real/a.jpg",
        "album/whole": root / "real",
        "album/again": "whole",
        "zzz": "album/whole/deep/b.jpg",
    }
    linked(root, links)
    found = {key: read(root, key) for key in keys(root)}
    assert found == {
        "album/again/a.jpg": b"a",
        "album/again/deep/b.jpg": b"b",
        "album/one.jpg": b"a",
        "album/whole/a.jpg": b"a",
        "album/whole/deep/b.jpg": b"b",
        "real/a.jpg": b"a",
        "real/deep/b.jpg": b"b",
        "zzz": b"b",
    }
    assert keys(root) == sorted(found)


def test_links_that_lead_out_or_nowhere_are_listed_as_not_followed_and_never_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "secret.txt", "root-2/b.jpg", "root/real/a.jpg")
    links: dict[str, str | Path] = {
        "absolute": tmp_path / "secret.txt",
        "beside": "../root-2",  # whose path begins like the root's
        "dangling": "real/gone.jpg",
        "loop": "loop",
        "second": "absolute",
        "up": "..",
    }
    linked(root, links)
    refs = list(FolderStore().list_objects(str(root)))
    assert [ref.key for ref in refs if ref.etag == NOT_FOLLOWED] == sorted(links)
    assert [ref.key for ref in refs if ref.etag != NOT_FOLLOWED] == ["real/a.jpg"]
    for key in (*links, "up/secret.txt", "beside/b.jpg", "real/a.jpg/x"):
        with pytest.raises(ImageError) as error:
            read(root, key)
        assert reason(error) is Reason.NOT_FOUND
    with pytest.raises(ConfigError):
        FolderStore().put(str(root), "up/new", b"x")
    assert not (tmp_path / "new").exists()


def test_a_folder_is_not_entered_again_from_within_itself(tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg", "b/2.jpg")
    linked(tmp_path, {"a/here": ".", "a/root": "..", "a/to-b": "../b", "b/to-a": "../a"})
    assert keys(tmp_path) == ["a/1.jpg", "a/to-b/2.jpg", "b/2.jpg", "b/to-a/1.jpg"]


def test_nothing_is_written_through_a_link_and_a_delete_takes_the_link_alone(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg", body=b"a")
    linked(tmp_path, {"album": "real", "one.jpg": "real/a.jpg"})
    store = FolderStore()
    with pytest.raises(ConfigError):
        store.put(str(tmp_path), "album/new.jpg", b"x")
    store.put(str(tmp_path), "one.jpg", b"other")
    store.delete(str(tmp_path), "album/a.jpg")
    store.delete(str(tmp_path), "album")
    assert {key: read(tmp_path, key) for key in keys(tmp_path)} == {"one.jpg": b"other", "real/a.jpg": b"a"}


def test_a_linked_file_that_changes_is_changed_under_each_of_its_keys(tmp_path: Path) -> None:
    write(tmp_path, "real.jpg")
    linked(tmp_path, {"link.jpg": "real.jpg"})
    refs = list(FolderStore().list_objects(str(tmp_path)))
    write(tmp_path, "real.jpg", body=b"longer")
    for ref in refs:
        with pytest.raises(ImageError) as error:
            FolderStore().get(ref, max_bytes=MB)
        assert reason(error) is Reason.CHANGED


NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.none() | st.sampled_from([".", "..", "../..", "a", "b", "a/b", "../a", "../c", "../../b", "/"]),
    max_size=8,
)


@given(TREES, st.data())
def test_any_tree_of_links_is_listed_once_in_order_and_from_any_key_on(
    tree: dict[str, str | None], data: st.DataObject
) -> None:
    """Args: `tree` has the files, and the links with what they lead to."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        root.mkdir()
        for name, target in tree.items():
            with suppress(OSError):  # a file and a directory of one name cannot both be
                write(root, name) if target is None else linked(root, {name: target})
        refs = list(FolderStore().list_objects(str(root)))
        full = [ref.key for ref in refs]
        assert full == sorted(set(full), key=str.encode)
        real = os.path.realpath(root) + "/"
        for ref in refs:
            leads_to = os.path.realpath(root / ref.key)
            is_inside = leads_to.startswith(real) and Path(leads_to).is_file()
            assert is_inside == (ref.etag != NOT_FOLLOWED)
            assert not is_inside or read(root, ref.key) == b"x"
        assert {
            os.path.realpath(path) for path in root.rglob("*") if path.is_file() and not path.is_symlink()
        } == {os.path.realpath(root / ref.key) for ref in refs if ref.etag != NOT_FOLLOWED}
        start = data.draw(st.sampled_from([*full, "", "a", "a/"]))
        assert keys(root, "", start) == [key for key in full if key > start]


def test_a_file_replaced_by_a_link_after_the_listing_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "secret.txt", "root/a.jpg")
    [ref] = FolderStore().list_objects(str(root))
    (root / "a.jpg").unlink()
    (root / "a.jpg").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ImageError) as error:
        FolderStore().get(ref, max_bytes=MB)
    assert reason(error) is Reason.NOT_FOUND


def test_a_link_that_appears_at_the_last_moment_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "secret.txt", "root/a.jpg")
    [ref] = FolderStore().list_objects(str(root))

    def stat_and_replace(*args: Any, **options: Any) -> os.stat_result:
        status = os.stat(*args, **options)
        (root / "a.jpg").unlink(missing_ok=True)
        (root / "a.jpg").symlink_to(tmp_path / "secret.txt")
        os.utime(tmp_path / "secret.txt", ns=(status.st_mtime_ns, status.st_mtime_ns))
        return status

    with pytest.raises(ImageError) as error:
        FolderStore(calls=SystemCalls(stat=stat_and_replace)).get(ref, max_bytes=MB)
    assert reason(error) is Reason.NOT_FOUND


def test_a_bucket_may_itself_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert keys(tmp_path / "link") == ["a.jpg"]


def test_pipes_sockets_and_devices_are_neither_listed_nor_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # a socket's path is at most 108 bytes
        listener.bind("socket")
        assert keys(tmp_path) == ["a.jpg"]
        for key in ("pipe", "socket"):
            with pytest.raises(ImageError) as error:
                read(tmp_path, key)
            assert reason(error) is Reason.NOT_FOUND
    assert "null" not in keys(Path("/dev"), "null")


# --- versions and limits ---


def test_a_file_that_changed_after_the_listing_is_changed(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", body=b"old")
    [ref] = FolderStore().list_objects(str(tmp_path))
    write(tmp_path, "a.jpg", body=b"newer")
    with pytest.raises(ImageError) as error:
        FolderStore().get(ref, max_bytes=MB)
    assert reason(error) is Reason.CHANGED


def test_a_file_that_grows_while_it_is_read_is_changed(tmp_path: Path) -> None:
    store, ref = growing_while_read(tmp_path, b"x" * 100)
    with pytest.raises(ImageError) as error:
        store.get(ref, max_bytes=MB)
    assert reason(error) is Reason.CHANGED


def test_a_file_that_grows_over_the_limit_is_cut_off_there(tmp_path: Path) -> None:
    store, ref = growing_while_read(tmp_path, b"x" * 100)
    with pytest.raises(ImageError) as error:
        store.get(ref, max_bytes=120)
    assert reason(error) is Reason.TOO_LARGE


def growing_while_read(root: Path, body: bytes) -> tuple[FolderStore, ObjectRef]:
    """Each of the first reads finds 100 more bytes at the end of the file."""
    path, grown = root / "a.jpg", iter(range(3))
    path.write_bytes(body)

    def grow_and_read(descriptor: int, length: int) -> bytes:
        if next(grown, None) is not None:
            with path.open("ab") as file:
                file.write(b"y" * 100)
        return os.read(descriptor, length)

    [ref] = FolderStore().list_objects(str(root))
    return FolderStore(calls=SystemCalls(read=grow_and_read)), ref


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    write(tmp_path, "a/b")
    with pytest.raises(ConfigError):
        FolderStore().put(str(tmp_path), "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_unfinished_writes_are_not_listed(tmp_path: Path) -> None:
    write(tmp_path, ".pictor-part-0123456789abcdef")
    assert keys(tmp_path) == []


# --- roots ---


def test_only_the_given_roots_and_what_lies_below_may_be_opened(tmp_path: Path) -> None:
    write(tmp_path, "photos/cam/a.jpg", "photos-private/b.jpg", "c.jpg")
    (tmp_path / "photos" / "way-out").symlink_to(tmp_path / "photos-private")
    store = FolderStore([tmp_path / "photos"])
    assert [ref.key for ref in store.list_objects(f"{tmp_path}/photos/cam")] == ["a.jpg"]
    for bucket in ("photos-private", "photos/..", "photos/../photos-private", "photos/way-out", ""):
        with pytest.raises(ConfigError, match="may be opened"):
            list(store.list_objects(f"{tmp_path}/{bucket}"))


@pytest.mark.parametrize("bucket", ["photos", "./photos", "", "/a\0b"])
def test_a_bucket_that_is_no_absolute_path_is_refused(bucket: str) -> None:
    with pytest.raises(ConfigError, match="absolute path"):
        list(FolderStore().list_objects(bucket))


def test_a_missing_folder_and_a_file_in_its_place_are_named(tmp_path: Path) -> None:
    write(tmp_path, "file")
    with pytest.raises(ConfigError, match=r"folder /.*/none does not exist"):
        keys(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"/file is not a folder"):
        keys(tmp_path / "file")


# --- permissions ---


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach; those of pytest are closed to them."""
    umask = os.umask(0o022)  # a command that ran in this process has left its own
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    os.umask(umask)
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o755)  # noqa: PTH101, S103
    shutil.rmtree(folder)


def list_and_read_as_nobody(root: Path, prefix: str = "", start_after: str | None = None) -> dict[str, str]:
    store = FolderStore()
    found = {}
    with without_the_rights_of_root():
        try:
            for ref in store.list_objects(str(root), prefix, start_after):
                found[ref.key] = read_or_reason(store, ref)
        except ConfigError as err:
            found["raised"] = str(err)
    return found


def read_or_reason(store: FolderStore, ref: ObjectRef) -> str:
    try:
        return store.get(ref, max_bytes=MB).body.decode()
    except ImageError as err:
        return err.reason


@contextmanager
def without_the_rights_of_root() -> Iterator[None]:
    """Root may read everything; whoever else runs the tests stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def test_what_may_not_be_read_is_listed_and_fails_and_its_neighbours_are_read(open_folder: Path) -> None:
    write(open_folder, "a.jpg", "closed.jpg", "closed/b.jpg", "names-only/c.jpg", "z.jpg")
    (open_folder / "closed.jpg").chmod(0)
    (open_folder / "closed").chmod(0)
    (open_folder / "names-only").chmod(0o744)
    assert list_and_read_as_nobody(open_folder) == {
        "a.jpg": "x",
        "closed.jpg": "access_denied",
        "closed/": "access_denied",
        "names-only/c.jpg": "access_denied",
        "z.jpg": "x",
    }


def test_a_folder_below_one_that_may_only_be_passed_is_read(open_folder: Path) -> None:
    write(open_folder, "home/me/a.jpg")
    (open_folder / "home").chmod(0o711)
    assert list_and_read_as_nobody(open_folder / "home" / "me") == {"a.jpg": "x"}


def test_a_closed_folder_that_holds_all_that_is_asked_for_is_an_error(open_folder: Path) -> None:
    write(open_folder, "closed/a.jpg", "closed/z.jpg")
    (open_folder / "closed").chmod(0)
    denied = {"raised": f"folder {open_folder}/closed/ cannot be read: permission denied"}
    assert list_and_read_as_nobody(open_folder, prefix="closed/a") == denied
    assert list_and_read_as_nobody(open_folder, start_after="closed/a.jpg") == denied
    (open_folder).chmod(0o700)
    assert "permission denied" in list_and_read_as_nobody(open_folder)["raised"]
