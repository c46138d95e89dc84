"""Tiny networks in Hugging Face's layout: made from a configuration, with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    ConvNextConfig,
    ConvNextImageProcessor,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    DINOv3ViTConfig,
    DINOv3ViTImageProcessor,
    DINOv3ViTModel,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

SIDE_PX = 32
_SIZE = {"height": SIDE_PX, "width": SIDE_PX}
_HEADS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = {**_HEADS, "intermediate_size": 64, "image_size": SIDE_PX, "patch_size": 8}
_TEXTS = {**_HEADS, "intermediate_size": 64, "vocab_size": 99, "max_position_embeddings": 16}
_TEXTS |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}  # as tests/hf_texts.py numbers them
_NAFLEX = {key: value for key, value in _VISION.items() if key != "image_size"} | {"num_patches": 16}

_NETWORKS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "clip": lambda: (
        CLIPModel(CLIPConfig(vision_config=_VISION, text_config=_TEXTS, projection_dim=24)),
        CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size=_SIZE),
    ),
    "siglip": lambda: (
        SiglipModel(SiglipConfig(vision_config=_VISION, text_config=_TEXTS)),
        SiglipImageProcessor(size=_SIZE),
    ),
    "siglip2": lambda: (
        Siglip2Model(Siglip2Config(vision_config=_NAFLEX, text_config=_TEXTS)),
        Siglip2ImageProcessor(patch_size=8, max_num_patches=16),
    ),
    "dinov2": lambda: (
        Dinov2Model(Dinov2Config(**_HEADS, image_size=SIDE_PX, patch_size=8)),
        BitImageProcessor(size={"shortest_edge": 40}, crop_size=_SIZE),
    ),
    "dinov3": lambda: (
        DINOv3ViTModel(DINOv3ViTConfig(**_VISION, num_register_tokens=4)),
        DINOv3ViTImageProcessor(size=_SIZE),
    ),
    "vit": lambda: (ViTModel(ViTConfig(**_VISION)), ViTImageProcessor(size=_SIZE)),
    "vit without pooler": lambda: (
        ViTForImageClassification(ViTConfig(**_VISION)),
        ViTImageProcessor(size=_SIZE),
    ),
    "convnext": lambda: (
        ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])),
        ConvNextImageProcessor(size={"shortest_edge": 64}),
    ),
}


def save_model(kind: str, folder: Path) -> Path:
    """Args: `kind` is a key of `_NETWORKS`. The same weights each time."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    model, processor = _NETWORKS[kind]()
    for file in (model, processor):
        file.save_pretrained(folder)
    return folder
