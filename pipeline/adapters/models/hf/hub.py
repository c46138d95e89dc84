"""The hub of Hugging Face, by its own client. The only module here that reaches the internet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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
        try:
            library.snapshot_download(
                model.repository,
                revision=model.commit,
                local_dir=folder,
                allow_patterns=[file.name for file in files],
            )
        except Exception as err:
            raise _refused(err, model.repository, model.commit) from err


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
    except ImportError as err:
        raise ConfigError(
            "downloads need huggingface_hub; `pip install 'pictor[transformers]'` installs it"
        ) from err
    return huggingface_hub
