"""Families whose models are torch modules: they differ in how a module is made, and not in how it runs."""

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from pipeline.adapters.models.family import ModelFamily, Places, Use
from pipeline.adapters.models.inference import has_native_bfloat16, pick_dtype, quicken
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.torch_embedder import TorchEmbedder, pick_device, share_cores
from pipeline.ports import ImageEmbedder
from pipeline.types import ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """`module` maps normalised [N, 3, S, S] to [N, dim].

    `precision` is what the model must be computed in, whatever was asked for. Empty: as it was asked for.
    """

    spec: ModelSpec
    module: nn.Module
    precision: str = ""


class TorchFamily(ModelFamily, Protocol):
    def open(self, address: ModelAddress, places: Places, /) -> OpenedModel:
        """Raises as `ModelFamily.read_spec` does."""
        ...

    def read_spec(self, address: ModelAddress, places: Places) -> ModelSpec:
        return self.open(address, places).spec

    def load_images(self, address: ModelAddress, places: Places, use: Use) -> ImageEmbedder:
        device = pick_device(use.device)  # before the weights are read: it is the cheaper mistake
        opened = self.open(address, places)
        precision = opened.precision or use.precision
        dtype = pick_dtype(precision, native=has_native_bfloat16(device))
        module, dtype = quicken(
            opened.module, opened.spec, device=device, dtype=dtype, required=precision == "bfloat16"
        )
        passes, pass_threads = share_cores(
            device, threads=use.threads, batches=use.batches, group_items=use.group_items
        )
        return TorchEmbedder(
            module,
            opened.spec,
            device=device,
            group_items=use.group_items,
            dtype=dtype,
            passes=passes,
            pass_threads=pass_threads,
            before_pass=use.before_pass,
        )
