"""The model and the preprocessing that every other contestant uses, as torchvision's examples have them.

Not Pictor's own code: a fault there must not be shared by those it is measured against.
"""

import io
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms.v2 import functional

RESIZE, CROP = 256, 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEADS = {"resnet18": "fc", "resnet50": "fc", "vit_b_16": "heads"}  # replaced, so that features come out
GROUP_ITEMS = 32


class FeatureModel:
    """Pixels to embeddings on one device, set up as well as torch's manual says.

    Args:
        threads: of torch; None leaves torch's own choice.
    """

    def __init__(
        self,
        weights: Path,
        *,
        architecture: str = "resnet18",
        precision: str = "float32",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        module = torchvision.models.get_model(architecture, weights=None)
        module.load_state_dict(load_file(weights))
        setattr(module, HEADS[architecture], torch.nn.Identity())
        self._device = torch.device(device)
        self._dtype = getattr(torch, precision)
        self._module = module.eval().to(self._device, self._dtype, memory_format=torch.channels_last)
        self._mean = torch.tensor(MEAN, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(STD, device=self._device).view(1, 3, 1, 1)

    def to_input(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """[N, 3, 224, 224] of 0..255 to normalised numbers on the device."""
        block = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
        scaled = block.contiguous(memory_format=torch.channels_last).float().div_(255)
        return scaled.sub_(self._mean).div_(self._std).to(self._dtype)

    def forward(self, ready: torch.Tensor) -> torch.Tensor:
        """[N, D] float32 of unit length, on the device."""
        with torch.inference_mode():
            return torch.nn.functional.normalize(self._module(ready).float(), dim=1)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self.forward(self.to_input(pixels)).cpu().numpy()
        return rows


def read_pixels(body: bytes) -> NDArray[np.uint8]:
    """[3, 224, 224], with Pillow, as ImageFolder and the examples of Ray and Daft do it."""
    with Image.open(io.BytesIO(body)) as image:
        rgb = image.convert("RGB")
    scale = RESIZE / min(rgb.size)
    rgb = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BILINEAR)
    left, top = (rgb.width - CROP) // 2, (rgb.height - CROP) // 2
    return np.asarray(rgb.crop((left, top, left + CROP, top + CROP))).transpose(2, 0, 1)


def read_pixels_fast(body: bytes) -> NDArray[np.uint8]:
    """[3, 224, 224], with torchvision's own decoder: about twice as fast on photographs of this size."""
    encoded = torch.frombuffer(bytearray(body), dtype=torch.uint8)
    rgb = torchvision.io.decode_jpeg(encoded, mode=torchvision.io.ImageReadMode.RGB)
    resized = functional.resize(rgb, [RESIZE], antialias=True)
    cut: NDArray[np.uint8] = functional.center_crop(resized, [CROP, CROP]).numpy()
    return cut


READERS = {"pillow": read_pixels, "torchvision": read_pixels_fast}
