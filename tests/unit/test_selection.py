"""Which keys of a listing are tried."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import pytest

from pipeline.ingest.selection import Selection, selection_of
from pipeline.ingest.system_folders import SYSTEM_FOLDERS
from pipeline.types import NOT_FOLLOWED, ObjectRef
from tests.unit.fakes import ref_of


def wants(
    key: str,
    *,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    etag: str = "e1",
    size_bytes: int = 10,
    bucket: str = "photos",
) -> bool:
    ref = replace(ref_of(key, etag=etag, size_bytes=size_bytes), bucket=bucket)
    return Selection(include=include, exclude=exclude).wants(ref)


@pytest.mark.parametrize(
    "key", ["a.jpg", "in/A.JPEG", "no-suffix", "photo.psd", "film.heic", "a.b/c", "a/../b.png", "x/ends."]
)
def test_an_image_an_unknown_and_a_missing_suffix_are_tried(key: str) -> None:
    assert wants(key)


@pytest.mark.parametrize("key", ["readme.TXT", "a/b/c.tar.gz", "model.safetensors", "clip.mp4", "app.js"])
def test_a_suffix_that_says_no_image_is_ignored(key: str) -> None:
    assert not wants(key)


@pytest.mark.parametrize("key", [".DS_Store", "a/.git/b.jpg", ".thumbs/a.jpg", "a/.hidden"])
def test_hidden_files_and_folders_are_ignored(key: str) -> None:
    assert not wants(key)


@pytest.mark.parametrize("key", [".hidden/a.jpg", "notes.txt"])
def test_with_include_the_patterns_alone_decide(key: str) -> None:
    assert wants(key, include=("*.jpg", "*.txt"))
    assert not wants(key, include=("*.png",))


def test_exclude_wins_over_include() -> None:
    assert not wants("cam/a.jpg", include=("*.jpg",), exclude=("cam/*",))
    assert wants("dog/a.jpg", include=("*.jpg",), exclude=("cam/*",))


def test_a_pattern_without_a_slash_is_matched_against_the_last_part_of_the_key() -> None:
    assert wants("deep/down/a.jpg", include=("a.*",))
    assert not wants("a.d/b.jpg", include=("a.*",))


def test_a_pattern_with_a_slash_is_matched_against_the_whole_key_and_crosses_slashes() -> None:
    assert wants("in/2024/05/a.jpg", include=("in/*.jpg",))
    assert not wants("out/in/a.jpg", include=("in/*.jpg",))


def test_patterns_match_odd_keys_and_regular_expression_syntax_is_plain_text() -> None:
    assert wants("line\nbreak.jpg", include=("*.jpg",))
    assert wants("a+(b).jpg", include=("a+(b).jpg",))
    assert not wants("aab.jpg", include=("a+(b).jpg",))


def test_an_empty_object_that_stands_for_a_folder_is_ignored() -> None:
    assert not wants("in/", size_bytes=0)
    assert not wants("in/", size_bytes=0, include=("*",))


def test_an_object_with_bytes_is_tried_even_if_its_key_ends_in_a_slash() -> None:
    assert wants("in/", size_bytes=10)


@pytest.mark.parametrize("include", [(), ("*.jpg",), ("cam/*",)])
def test_a_folder_that_could_not_be_read_is_tried_so_that_it_is_seen_to_fail(
    include: tuple[str, ...],
) -> None:
    assert wants("locked/", etag="", size_bytes=0, include=include)


def test_a_folder_that_could_not_be_read_can_be_excluded_or_hidden() -> None:
    assert not wants("locked/", etag="", size_bytes=0, exclude=("locked/*",))
    assert not wants(".trash/", etag="", size_bytes=0)
    assert not wants(".trash/", etag="", size_bytes=0, include=("*.jpg",))


@pytest.mark.parametrize("key", ["@eaDir/a.jpg/THUMB.jpg", "2024/@eaDir/a.jpg", "x/y/@eaDir/z/a.jpg"])
def test_any_number_of_folders_is_also_none(key: str) -> None:
    assert not wants(key, exclude=("**/@eaDir/**",))
    assert wants(key, include=("**/@eaDir/**",))
    assert wants(key.replace("@eaDir", "eaDir"), exclude=("**/@eaDir/**",))


def calls_in(work: Callable[[], object]) -> Counter[str]:
    """How often each Python function was called."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        calls[frame.f_code.co_name] += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_patterns_are_compiled_once_for_a_job_however_many_there_are() -> None:
    include = tuple(f"{number}*/@eaDir/*.jpg" for number in range(600))
    made = calls_in(lambda: selection_of(include, ()))
    assert made["compile_glob"] >= 600
    refs = [replace(ref_of(f"a/@eaDir/{number}.jpg"), bucket="/photos") for number in range(5)]
    used = calls_in(lambda: [selection_of(include, ()).wants(ref) for ref in refs])
    assert used["wants"] == 5
    assert (used["compile_glob"], used["_compile"]) == (0, 0)


# --- links and system folders ---


def test_a_link_that_is_not_followed_is_ignored_and_missed_where_it_would_be_wanted() -> None:
    def link(key: str) -> ObjectRef:
        return ref_of(key, etag=NOT_FOLLOWED, size_bytes=0)

    selection = Selection(exclude=("private/*",))
    assert not selection.wants(link("a.jpg"))
    assert selection.misses(link("a.jpg"))
    assert not selection.misses(link("private/a.jpg"))
    assert not selection.misses(link("notes.txt"))
    assert not selection.misses(ref_of("a.jpg"))


@pytest.mark.parametrize("folder", [name.replace("*", "1000") for name in SYSTEM_FOLDERS])
@pytest.mark.parametrize("include", [(), ("*",), ("*.jpg",), ("**/*.jpg",)])
def test_what_nas_and_sync_programs_keep_is_left_out_of_folders_alone(
    folder: str, include: tuple[str, ...]
) -> None:
    for key in (f"{folder}/a.jpg", f"2024/{folder}/b/a.jpg", f"{folder.upper()}/a.jpg"):
        assert not wants(key, include=include, bucket="/photos")
        assert wants(key, include=("*.jpg",), bucket="photos")
        assert wants(key, include=(f"**/{folder}/**",), bucket="/photos") == (folder in key)


@pytest.mark.parametrize(
    "key", ["@eaDir", "my@eaDir/a.jpg", "@eaDir2/a.jpg", "trash/a.jpg", "found/lost+found.jpg"]
)
def test_a_name_that_only_looks_like_a_system_folder_is_no_such_folder(key: str) -> None:
    assert wants(key, bucket="/photos")


def test_naming_one_system_folder_takes_in_no_other() -> None:
    include = ("*.jpg", "**/@eaDir/**", "**/.trash-*/**")
    assert wants("@EADIR/a.jpg", include=("*", "**/@eaDir/**"), bucket="/photos")
    assert wants(".Trash-1000/a.jpg", include=("*.jpg", "**/.trash-*/**"), bucket="/photos")
    assert not wants("#recycle/a.jpg", include=include, bucket="/photos")
    assert not wants("#recycle/@eaDir/a.jpg", include=include, bucket="/photos")
