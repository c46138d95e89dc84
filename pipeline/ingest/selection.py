"""Choose the keys of a listing that are worth trying as images. All others are counted as `ignored`.

Without `include`, hidden files and files whose suffix says that they are no image are ignored; an unknown
or missing suffix is tried. With `include`, the patterns alone decide. `exclude` always wins.

Below a local folder, `system_folders` are ignored, too.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.ingest.globs import Globs
from pipeline.ingest.system_folders import SystemFolders
from pipeline.types import NOT_FOLLOWED, ObjectRef

# Suffixes that say "no image". Image formats that are not on the decoder's list (.psd, .svg, .heic) are not
# here: they are tried and reported as unsupported_format, so that nobody wonders where their pictures are.
NO_IMAGE_SUFFIXES = frozenset(
    # text, tables and settings
    "csv tsv json jsonl ndjson txt md rst html htm xml yaml yml toml ini cfg conf log lock tex srt vtt "
    # documents
    "pdf doc docx xls xlsx ppt pptx odt ods odp rtf epub "
    # archives
    "zip gz tgz tar bz2 xz zst 7z rar jar whl deb rpm iso "
    # data and models
    "parquet avro orc arrow feather npy npz pkl pickle h5 hdf5 db sqlite sqlite3 sql "
    "pt pth ckpt onnx safetensors tflite "
    # sound and film
    "mp3 wav flac ogg opus m4a aac mp4 m4v mov avi mkv webm mpg mpeg wmv "
    # programs
    "py pyc js mjs ts jsx tsx css scss c h cc cpp hpp java class go rs rb php sh bat ps1 ipynb exe dll so "
    "dylib o a wasm ttf otf woff woff2".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Glob patterns as `Globs` reads them."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    _included: Globs = field(init=False, repr=False, compare=False)
    _excluded: Globs = field(init=False, repr=False, compare=False)
    _system_folders: SystemFolders = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_included", Globs(self.include))
        object.__setattr__(self, "_excluded", Globs(self.exclude))
        object.__setattr__(self, "_system_folders", SystemFolders(self.include))

    def wants(self, ref: ObjectRef) -> bool:
        """Whether to try it. A link that is not followed cannot be tried."""
        return ref.etag != NOT_FOLLOWED and self._wants(ref)

    def misses(self, ref: ObjectRef) -> bool:
        """Whether it is a link that is not followed, and would be wanted if it were."""
        return ref.etag == NOT_FOLLOWED and self._wants(ref)

    def _wants(self, ref: ObjectRef) -> bool:
        if _is_directory_marker(ref) or self._excluded.match(ref.key):
            return False
        if ref.bucket.startswith("/") and self._system_folders.hold(ref.key):
            return False
        if self.include and not _is_unread_folder(ref):
            return self._included.match(ref.key)
        return not _is_hidden(ref.key) and _suffix(ref.key) not in NO_IMAGE_SUFFIXES


@functools.lru_cache(maxsize=8)  # jobs whose steps take turns in one process; each compiles once
def selection_of(include: tuple[str, ...], exclude: tuple[str, ...]) -> Selection:
    """The selection of a job."""
    return Selection(include=include, exclude=exclude)


def _is_directory_marker(ref: ObjectRef) -> bool:
    # Consoles make folders of a bucket visible by empty objects "a/".
    return ref.key.endswith("/") and ref.size_bytes == 0 and bool(ref.etag)


def _is_unread_folder(ref: ObjectRef) -> bool:
    # A listing entry without an ETag is no object but a folder that could not be read. Its files may match
    # `include`, so it must be tried, and fail, to be seen.
    return ref.key.endswith("/") and not ref.etag


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in key.split("/"))


def _suffix(key: str) -> str:
    _, dot, suffix = key.rsplit("/", 1)[-1].rpartition(".")
    return suffix.lower() if dot else ""
