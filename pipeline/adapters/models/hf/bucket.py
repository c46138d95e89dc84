"""Models in buckets: a folder that was pulled and copied there, with the note of its files' digests.

The note says what to fetch, so that who reads a model needs no right to list the bucket.
"""

from pathlib import Path
from uuid import uuid4

from pipeline.adapters.models.hf.digests import DIGESTS, read_digests
from pipeline.adapters.models.weights import FetchS3, WeightsRef, cached_name, digest_file, fetch_object
from pipeline.errors import ModelError


def fetch_folder(url: str, *, weights_dir: Path, fetch_s3: FetchS3 | None, name: str) -> Path:
    """The folder on this machine. It is fetched once, and files that came whole are not fetched again.

    Args:
        url: s3://bucket/prefix, of the folder.

    Raises:
        ModelError: there is no such folder or no note in it, or a file is not the one that the note promises.
    """
    plain = url.rstrip("/")
    folder = weights_dir / "s3" / cached_name(plain)
    if (folder / DIGESTS).is_file():
        return folder
    note = folder / f".part-{uuid4().hex}.json"  # of this process, as others may fetch the same folder
    try:
        _fetch_note(WeightsRef(location=f"{plain}/{DIGESTS}"), note, fetch_s3, name)
        for file, sha256 in read_digests(note, name=name).items():
            ref = WeightsRef(location=f"{plain}/{file}", sha256=sha256)
            if not _is_whole(folder / file, sha256):
                fetch_object(ref, folder / file, model=name, fetch_s3=fetch_s3)
        note.replace(folder / DIGESTS)  # last: a folder with its note is whole
    finally:
        note.unlink(missing_ok=True)
    return folder


def _fetch_note(ref: WeightsRef, note: Path, fetch_s3: FetchS3 | None, name: str) -> None:
    try:
        fetch_object(ref, note, model=name, fetch_s3=fetch_s3)
    except ModelError as err:
        raise ModelError(
            f"{err}. A folder in a bucket needs the {DIGESTS} that `pictor models pull MODEL` wrote beside "
            "its files"
        ) from err


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and digest_file(path) == sha256
