"""The network of a folder, with the weights of the folder and no others. No code of the folder is run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipeline.adapters.models.hf.folder import CONFIG, ModelFolder
from pipeline.adapters.models.hf.library import transformers
from pipeline.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """`missing` are names of tensors that the folder does not hold. They have random values."""

    module: nn.Module
    missing: tuple[str, ...]


def load_network(folder: ModelFolder) -> Network:
    """In float32 on the CPU, whatever the type of the files.

    Raises:
        ModelError: the architecture is unknown, or wants code of its own; the weights do not fit, are
            damaged or not finite.
        ConfigError: transformers is not installed.
    """
    config = _load_config(folder)
    try:
        module, report = transformers().AutoModel.from_pretrained(
            folder.path,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=_attention(config),
            output_loading_info=True,
        )
    except Exception as err:  # the library's checks, safetensors and each architecture have their own kinds
        raise ModelError(
            f"{folder.name}: weights in {folder.path} are damaged, or do not fit {CONFIG}"
        ) from err
    module = module.eval()
    _check_finite(module, folder.name)
    return Network(module=module, missing=tuple(sorted(report["missing_keys"])))


def _load_config(folder: ModelFolder) -> Any:
    config, known = folder.config, transformers().CONFIG_MAPPING
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ModelError(f"{folder.name}: {CONFIG} has no model_type, so its architecture is unknown")
    if kind not in known:
        wanted = " It wants code of its own (auto_map), which is never run." if "auto_map" in config else ""
        version = transformers().__version__
        raise ModelError(f"{folder.name}: transformers {version} knows no architecture {kind!r}.{wanted}")
    if "quantization_config" in config:
        raise ModelError(f"{folder.name}: {CONFIG} asks for quantized weights, float ones are expected")
    try:
        return transformers().AutoConfig.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
    except Exception as err:  # each architecture checks its values in its own way
        raise ModelError(f"{folder.name}: {CONFIG} is no configuration of {kind!r}") from err


def _attention(config: Any) -> str:
    """Said, as a configuration could name a kernel that would be downloaded."""
    try:
        kind = transformers().MODEL_MAPPING[type(config)]
    except KeyError:
        return "eager"
    first = kind[0] if isinstance(kind, list | tuple) else kind
    return "sdpa" if getattr(first, "_supports_sdpa", False) else "eager"


def _check_finite(module: nn.Module, name: str) -> None:
    for tensor_name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{name}: tensor {tensor_name} holds values that are not finite")


def refuse_missing(missing: Iterable[str], name: str) -> None:
    """Raises ModelError: there are any. They would be random numbers."""
    names = sorted(missing)
    if names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise ModelError(f"{name}: missing tensors: {len(names)} ({shown})")
