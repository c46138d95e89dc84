"""A model file with weights that nobody trained: the arithmetic is the same, and nothing is fetched."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file

SEED = 4
_MODEL_FILE = """\
name = "{architecture}-seed{seed}"
architecture = "torchvision/{architecture}"
weights = "{architecture}.safetensors"
resize = {resize}
crop = {crop}
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def make_model_file(folder: Path, architecture: str, *, resize: int = 256, crop: int = 224) -> Path:
    """Write `<architecture>.toml` and, beside it, `<architecture>.safetensors`. The same on every machine.

    Returns:
        The model file.
    """
    torch.manual_seed(SEED)
    module = torchvision.models.get_model(architecture, weights=None)
    save_file(module.state_dict(), folder / f"{architecture}.safetensors")
    file = folder / f"{architecture}.toml"
    text = _MODEL_FILE.format(architecture=architecture, seed=SEED, resize=resize, crop=crop)
    file.write_text(text, encoding="utf-8")
    return file
