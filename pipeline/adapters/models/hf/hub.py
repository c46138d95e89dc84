"""The hub of Hugging Face, by its own client. The only module here that reaches the internet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pipeline.adapters.models.weights import digest_file
from pipeline.errors import ConfigError, ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    name: str
    size_bytes: int
    sha256: str  # empty: the hub has none for small files


@dataclass(frozen=True, kw_only=True, slots=True)
class HubModel:
    """One version of a model. `commit` is its 40 hex digits."""

    repository: str
    commit: str
    files: Sequence[HubFile]


class Hub(Protocol):
    def describe(self, repository: str, revision: str) -> HubModel:
        """Raises ModelError: there is no such model or version, or the hub cannot be reached."""
        ...

    def download(self, model: HubModel, files: Sequence[HubFile], folder: Path) -> None:
        """Put files into a folder, each whole or not at all. Goes on where an earlier try was broken off.

        Raises:
            ModelError: as `describe` does, or they cannot be written.
        """
        ...


class HuggingFaceHub:
    """A token for private models is taken from HF_TOKEN, and another server from HF_ENDPOINT."""

    def describe(self, repository: str, revision: str) -> HubModel:
        library = _huggingface_hub()
        try:
            info = library.HfApi().model_info(repository, revision=revision, files_metadata=True)
        except Exception as err:  # the client's own kinds, and those of what it sends with
            raise _refused(err, repository, revision) from err
        files = [
            HubFile(
                name=file.rfilename,
                size_bytes=file.size or 0,
                sha256=file.lfs.sha256 if file.lfs is not None else "",
            )
            for file in info.siblings or []
        ]
        return HubModel(repository=repository, commit=str(info.sha), files=files)

    def download(self, model: HubModel, files: Sequence[HubFile], folder: Path) -> None:
        library = _huggingface_hub()

        def read(file: HubFile, part: BinaryIO, have_bytes: int) -> None:
            library.file_download.http_get(
                library.hf_hub_url(model.repository, file.name, revision=model.commit),
                part,
                resume_size=have_bytes,
                headers=library.utils.build_hf_headers(),
                expected_size=file.size_bytes,
            )

        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                complete(file, folder, read)
        except Exception as err:
            raise _refused(err, model.repository, model.commit) from err


Read = Callable[[HubFile, BinaryIO, int], None]  # appends what comes after the bytes that are there


def complete(file: HubFile, folder: Path, read: Read) -> None:
    """Fetch a file, or what an earlier try left out of it. Its content is not checked.

    The client's own `snapshot_download` throws away what it has when it is broken off.
    """
    path = folder / file.name
    if file.sha256 and path.is_file() and digest_file(path) == file.sha256:
        return
    part = folder / f".part-{file.sha256[:16]}-{file.name}"
    if not _can_go_on(part, file):
        part.unlink(missing_ok=True)
    with part.open("ab") as target:
        read(file, target, target.tell())
    part.replace(path)


def _can_go_on(part: Path, file: HubFile) -> bool:
    """A file without a digest is small, and could be that of another version."""
    return bool(file.sha256) and part.is_file() and part.stat().st_size <= file.size_bytes


def _refused(err: Exception, repository: str, revision: str) -> ModelError:
    from huggingface_hub import errors

    name = f"hf/{repository}"
    match err:
        case errors.GatedRepoError():
            return ModelError(f"{name}: accept its terms on the hub's page, and set HF_TOKEN to your token")
        case errors.RepositoryNotFoundError():
            return ModelError(f"{name}: the hub has no such model, or it is private and needs HF_TOKEN")
        case errors.RevisionNotFoundError():
            return ModelError(f"{name}: the hub has no revision {revision!r} of it")
        case OSError(strerror=str(reason)) if err.errno is not None:
            return ModelError(f"{name}: its files cannot be fetched or written: {reason}")
    return ModelError(
        f"{name}: the hub cannot be reached, or the download broke off; run it again, and it goes on"
    )


def _huggingface_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.file_download
    except ImportError as err:
        raise ConfigError(
            "downloads need huggingface_hub; `pip install 'pictor[transformers]'` installs it"
        ) from err
    return huggingface_hub
