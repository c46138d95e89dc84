"""Byte order out of a server that lists folder by folder."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.s3.listing import lists_by_folder, walk_folders
from pipeline.types import ObjectRef

KEYS = st.sets(st.text("ab-./é\U0001f600", min_size=1, max_size=7), max_size=12)


class Folders:
    """What such a server answers: objects, then folders, each in an order of its own."""

    def __init__(self, keys: set[str]) -> None:
        self.keys = keys
        self.asked: list[str] = []

    def list_folder(self, prefix: str) -> list[ObjectRef]:
        self.asked.append(prefix)
        rests = [key.removeprefix(prefix) for key in self.keys if key.startswith(prefix)]
        objects = sorted((rest for rest in rests if "/" not in rest), reverse=True)
        folders = sorted({rest.partition("/")[0] + "/" for rest in rests if "/" in rest}, reverse=True)
        return [ref_of(prefix + rest, "e1") for rest in objects] + [
            ref_of(prefix + rest, "") for rest in folders
        ]


def ref_of(key: str, etag: str) -> ObjectRef:
    return ObjectRef(bucket="b", key=key, etag=etag, size_bytes=0)


@settings(max_examples=500)
@given(KEYS, st.text("ab-./", max_size=3), st.text("ab-./é", max_size=4))
def test_any_prefix_and_start_give_the_slice_of_all_keys_in_byte_order(
    keys: set[str], prefix: str, start_after: str
) -> None:
    found = [ref.key for ref in walk_folders(Folders(keys).list_folder, prefix, start_after)]
    expected = sorted(key for key in keys if key.startswith(prefix) and key > start_after)
    assert found == expected


def test_folders_before_the_start_are_not_asked_for_nor_any_before_it_is_reached() -> None:
    folders = Folders({"a/1", "b/c/1", "b/d/1", "e/1"})
    listing = walk_folders(folders.list_folder, "", "b/c/1")
    assert next(listing).key == "b/d/1"
    assert folders.asked == ["", "b/", "b/c/", "b/d/"]


def test_seaweedfs_is_known_by_the_name_it_gives_itself() -> None:
    assert lists_by_folder("SeaweedFS 8000GB 4.48")
    assert not any(map(lists_by_folder, ("", "nginx", "AmazonS3", "MinIO", "Ceph")))
