"""Fetch a model of the hub into the folder of models, and note what was fetched."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.adapters.models.family import PulledModel
from pipeline.adapters.models.hf.digests import DIGESTS, write_digests
from pipeline.adapters.models.hf.folder import (
    CONFIG,
    INDEX,
    PICKLES,
    PREFIX,
    SETTINGS_SUFFIXES,
    WEIGHTS,
    hub_folder,
)
from pipeline.adapters.models.hf.hub import Hub, HubFile, HubModel
from pipeline.adapters.models.weights import digest_file
from pipeline.errors import ModelError


def pull(name: str, *, weights_dir: Path, revision: str, hub: Hub) -> PulledModel:
    """Safe to run twice: what is there and whole is not fetched again.

    Args:
        name: hf/ORG/NAME.
        revision: a branch, tag or commit.

    Raises:
        ModelError: the hub has no such model, or no weights of it that are no pickles; it cannot be reached;
            a file is not the one that the hub promised.
    """
    folder = hub_folder(name, weights_dir)
    model = hub.describe(name.removeprefix(PREFIX), revision)
    files = _choose(model, name)
    hub.download(model, files, folder)
    digests = {file.name: _check(file, folder, name) for file in files}
    write_digests(folder, name=name, commit=model.commit, files=digests)
    return PulledModel(
        folder=folder,
        commit=model.commit,
        files=digests,
        size_bytes=sum((folder / file.name).stat().st_size for file in files),
    )


def _choose(model: HubModel, name: str) -> Sequence[HubFile]:
    """Of the top folder: below it are the same weights for other programs."""
    top = {file.name: file for file in model.files if "/" not in file.name}
    if CONFIG not in top:
        raise ModelError(f"{name}: the hub's copy holds no {CONFIG}")
    if WEIGHTS not in top and INDEX not in top:
        pickles = sorted(file for file in top if file.endswith(PICKLES))
        found = f"{pickles[0]}, a pickle that could run code" if pickles else "none"
        raise ModelError(f"{name}: weights in {WEIGHTS} are expected on the hub, found {found}")
    shards = [file for file in top if file.endswith(".safetensors")]
    weights = [WEIGHTS] if WEIGHTS in top else shards
    texts = [
        file for file in top if file.endswith(SETTINGS_SUFFIXES) and not (file == INDEX and WEIGHTS in top)
    ]
    return [top[file] for file in sorted({*weights, *texts} - {DIGESTS})]


def _check(file: HubFile, folder: Path, name: str) -> str:
    path = folder / file.name
    if not path.is_file():
        raise ModelError(f"{name}: {path} was not fetched; run this again")
    digest = digest_file(path)
    if file.sha256 and digest != file.sha256:
        path.unlink()  # so that the next try fetches it again
        raise ModelError(f"{name}: {path}: SHA-256 is {digest}, {file.sha256} was promised; it was removed")
    return digest
