"""Reads the tensors of weights, without running anything that their file contains."""

import hashlib
import pickle
from collections.abc import Container
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pipeline.errors import ModelError


def read_tensors(path: Path, *, model: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth or .pt file, by name.

    Raises:
        ModelError: damaged, or more than a flat dictionary of tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as err:
            raise ModelError(f"{model}: weights {path}: damaged, or not a safetensors file") from err
    return _check_state_dict(_load_checkpoint(path, model), path, model)


def digest_tensors(module: nn.Module, *, only: Container[str] | None = None) -> str:
    """SHA-256 over every tensor that takes part in the forward pass: the same for any file it came from.

    Args:
        only: names of the tensors that take part. Default: all of the module.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.endswith("num_batches_tracked"):  # a counter of training
            continue
        if only is not None and name not in only:
            continue
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).numpy())
    return digest.hexdigest()


def _load_checkpoint(path: Path, model: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise ModelError(
            f"{model}: weights {path}: refused, it is damaged or a pickle with more than tensors, "
            "which could run code; save the state_dict alone, best as .safetensors"
        ) from err
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as err:
        raise ModelError(f"{model}: weights {path}: damaged, or not a PyTorch checkpoint") from err


def _check_state_dict(loaded: object, path: Path, model: str) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        raise ModelError(
            f"{model}: weights {path}: holds a {type(loaded).__name__}, a state_dict was expected"
        )
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{model}: weights {path}: entry {str(name)[:80]!r} is a {type(value).__name__}; "
                "a flat state_dict of names and tensors was expected"
            )
    return dict(loaded)
