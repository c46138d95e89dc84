"""Finds a model's weights, fetches them once, and checks them. `tensors` reads them."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.adapters.models.room import check_room
from pipeline.adapters.models.whole_file import open_whole
from pipeline.errors import ImageError, ModelError

FetchS3 = Callable[[str], bytes]
OpenUrl = Callable[[str], AbstractContextManager[BinaryIO]]

SUFFIXES = (".safetensors", ".pth", ".pt")
CONNECT_TIMEOUT_S = 20  # also between two reads; a firewall that drops packets would hang for minutes
CHUNK_BYTES = 2**20
PUBLISHED_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.pth$")


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsRef:
    """Where weights are: an absolute path, or an https:// or s3:// URL.

    `sha256` is the beginning of the file's digest. Published weights carry 8 to 10 digits of it in
    their name, a model file may give all 64. Empty: not checked.
    """

    location: str
    sha256: str = ""

    @property
    def is_remote(self) -> bool:
        return self.location.startswith(("https://", "http://", "s3://"))

    @property
    def file_name(self) -> str:
        return self.location.rsplit("/", 1)[-1]


def open_url(url: str) -> AbstractContextManager[BinaryIO]:
    # torchvision's own list is the only source of these URLs; s3:// goes through the S3 adapter.
    return cast(
        AbstractContextManager[BinaryIO],
        urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S),  # noqa: S310
    )


def cached_path(ref: WeightsRef, weights_dir: Path) -> Path:
    """Where the file lies or will lie."""
    if not ref.is_remote:
        return Path(ref.location)
    if ref.location.startswith("s3://"):
        return weights_dir / cached_name(ref.location)
    return weights_dir / ref.file_name


def cached_name(url: str) -> str:
    """Of what was fetched from there. Two buckets may use one name, so the URL's digest leads."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{url.rsplit('/', 1)[-1]}"


def find_weights(
    ref: WeightsRef,
    *,
    model: str,
    weights_dir: Path,
    fetch_s3: FetchS3 | None = None,
    open_url: OpenUrl = open_url,
    suffixes: Sequence[str] = SUFFIXES,
) -> Path:
    """The checked file. A remote one is fetched once, whole or not at all.

    Raises:
        ModelError: it is not there, cannot be fetched, or is not the file that was promised.
    """
    path = cached_path(ref, weights_dir)
    if path.suffix not in suffixes:
        raise ModelError(f"{model}: weights {path.name}: the name must end in one of {', '.join(suffixes)}")
    if path.is_file():
        check_room([path], model=model)
        found = digest_file(path) if ref.sha256 else ""
        if found.startswith(ref.sha256):
            return path
        if not ref.is_remote:
            raise ModelError(f"{model}: weights {path}: SHA-256 is {found}, {ref.sha256} was promised")
    elif not ref.is_remote:
        raise ModelError(f"{model}: weights {path}: there is no such file")
    if ref.location.startswith("s3://"):
        fetch_object(ref, path, model=model, fetch_s3=fetch_s3)
    else:
        _store(_download(ref, model, path, open_url), path, ref, model)
    return path


def fetch_object(ref: WeightsRef, path: Path, *, model: str, fetch_s3: FetchS3 | None) -> None:
    """Put an object of S3 at `path`, whole or not at all.

    Raises:
        ModelError: it cannot be read or written, or is not what was promised.
    """
    _store(_read_object(ref, model, fetch_s3), path, ref, model)


def published_ref(url: str) -> WeightsRef:
    """Published weights, whose file name ends in the first digits of its own digest."""
    match = PUBLISHED_DIGEST.search(url)
    return WeightsRef(location=url, sha256=match[1] if match else "")


def digest_file(path: Path) -> str:
    """SHA-256 as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_object(ref: WeightsRef, model: str, fetch_s3: FetchS3 | None) -> Iterator[bytes]:
    if fetch_s3 is None:
        raise ModelError(f"{model}: weights {ref.location}: no S3 service is set up")
    try:
        yield fetch_s3(ref.location)
    except ImageError as err:  # the store speaks of objects as images
        raise ModelError(f"{model}: weights {ref.location}: {err.reason}") from err


def _download(ref: WeightsRef, model: str, path: Path, open_url: OpenUrl) -> Iterator[bytes]:
    try:
        with open_url(ref.location) as response:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
    except urllib.error.HTTPError as err:
        raise ModelError(f"{model}: weights {ref.file_name}: the server answered {err.code}") from err
    except (OSError, http.client.HTTPException) as err:
        raise ModelError(
            f"{model}: weights {ref.file_name} are not here, and this machine could not fetch them; "
            f"place the file at {path}, or give a model file (.toml) that names weights you have"
        ) from err


def _store(chunks: Iterator[bytes], path: Path, ref: WeightsRef, model: str) -> None:
    """Checked before it takes its place: other processes see the whole file that was promised, or none."""
    try:
        with open_whole(path) as file:
            digest = _write(chunks, file)
            if not digest.startswith(ref.sha256):
                raise ModelError(
                    f"{model}: weights {ref.location}: SHA-256 is {digest}, {ref.sha256} was promised"
                )
    except OSError as err:
        raise ModelError(f"{model}: weights {path} cannot be written: {err.strerror}") from err


def _write(chunks: Iterator[bytes], file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()
