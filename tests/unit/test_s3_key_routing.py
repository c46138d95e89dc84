"""Which keys obstore may read: only those that its path rules leave as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from pipeline.adapters.s3.reader import reads_with_obstore

READ_WITH_OBSTORE = [
    "a.jpg",
    "cam1/2026/a.jpg",
    "with space.jpg",
    " leading and trailing ",
    "a+b.jpg",
    "%41.jpg",
    "a%2Fb",
    "&=?#%25;:@",
    "'quotes\".jpg",
    "back\\slash",
    "Gr\u00fcn.jpg",  # NFC
    "Gru\u0308n.jpg",  # NFD
    "\U0001f600.jpg",
    "*[]{}|^~<>",
    "...",
    "a/...",
    "a/..b/.c/d.",
    "x" * 1024,
    "d/" * 200 + "x",
]
READ_WITH_MINIO = [
    "a//b.jpg",
    "//",
    "/",
    "/lead.jpg",
    "trail/",
    ".",
    "..",
    "./a",
    "a/.",
    "a/./b",
    "../a",
    "a/..",
    "a/../b",
    "tab\there",
    "line\nbreak",
    "return\rhere",
    "null\x00byte",
    "delete\x7f",
    "escape\x1b[0m",
    "next line\x85",
    "wide\u3000space",
    "zero\u200bwidth",
    "half \ud800 pair",
    "",
]


@pytest.mark.parametrize("key", READ_WITH_OBSTORE)
def test_a_key_that_obstore_leaves_unchanged_is_read_with_it(key: str) -> None:
    assert reads_with_obstore(key)
    assert path_in_obstore(key) == key


@pytest.mark.parametrize("key", READ_WITH_MINIO)
def test_a_key_that_obstore_refuses_or_changes_is_not_read_with_it(key: str) -> None:
    assert not reads_with_obstore(key)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("/.\t a"), min_size=1, max_size=12))
def test_whatever_is_read_with_obstore_keeps_its_name_there(key: str) -> None:
    if reads_with_obstore(key):
        assert path_in_obstore(key) == key


def path_in_obstore(key: str) -> str:
    store = MemoryStore()
    store.put(key, b"x")
    [page] = store.list()
    [entry] = page
    return entry["path"]
