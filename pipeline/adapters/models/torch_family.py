"""Families whose models are torch modules: they differ in how a module is made, and not in how it runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.backends.calibrate import Calibration, Sample, calibrate
from pipeline.adapters.models.backends.choose import (
    FOLDER,
    make_ready,
    make_ready_in_int8,
    plan_work,
    try_backends,
)
from pipeline.adapters.models.backends.int8 import INT8, spec_in_int8
from pipeline.adapters.models.backends.networks import Network, Work
from pipeline.adapters.models.backends.trial import Trial
from pipeline.adapters.models.family import ModelFamily, Places, Use
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.opened import OpenedModel
from pipeline.adapters.models.torch_embedder import TorchEmbedder, pick_device
from pipeline.errors import ConfigError, ModelError
from pipeline.ports import ImageEmbedder
from pipeline.types import ModelSpec


class TorchFamily(ModelFamily, Protocol):
    def open(self, address: ModelAddress, places: Places, /) -> OpenedModel:
        """Raises as `ModelFamily.read_spec` does."""
        ...

    def read_spec(self, address: ModelAddress, places: Places) -> ModelSpec:
        opened = self.open(address, places)
        places.handover.put(opened)
        return opened.spec

    def load_images(self, address: ModelAddress, places: Places, use: Use) -> ImageEmbedder:
        device = pick_device(use.device)  # before the weights are read: it is the cheaper mistake
        opened = places.handover.take(address.kept) or self.open(address, places)
        work = plan_work(
            device,
            precision=opened.precision or use.precision,
            group_items=use.group_items,
            batches=use.batches,
            threads=use.threads,
        )
        spec, network = self._make_ready(opened, work, use, places)
        return TorchEmbedder(
            network.features,
            spec,
            device=device,
            backend=network.backend,
            group_items=use.group_items,
            dtype=network.dtype,
            memory_format=network.memory_format,
            passes=work.passes,
            # Another backend has threads of its own. What torch does for it takes one.
            pass_threads=work.pass_threads if network.backend is Backend.TORCH else 1,
            before_pass=use.before_pass,
        )

    def in_int8(self, spec: ModelSpec, places: Places) -> ModelSpec:
        return spec_in_int8(spec, places.weights_dir / FOLDER)

    def calibrate(self, address: ModelAddress, places: Places, sample: Sample) -> Calibration:
        if self.backend:
            raise ConfigError(f"model {address.text!r} has no form in int8")
        opened = self.open(address, places)
        pixels = sample(opened.spec.preprocessing)
        return calibrate(opened.module, opened.spec, pixels, folder=places.weights_dir / FOLDER)

    def try_backends(self, address: ModelAddress, places: Places, work: Work) -> Sequence[Trial]:
        if self.backend:
            raise ModelError(f"model {address.text!r} has no choice of backends: {self.backend} runs it")
        opened = self.open(address, places)
        if opened.precision:
            work = replace(work, precision=opened.precision)
        return try_backends(opened.module, opened.spec, work, folder=places.weights_dir / FOLDER)

    def _make_ready(
        self, opened: OpenedModel, work: Work, use: Use, places: Places
    ) -> tuple[ModelSpec, Network]:
        folder = places.weights_dir / FOLDER
        if use.precision == INT8 and not self.backend:
            return make_ready_in_int8(opened.spec, work, backend=use.backend, folder=folder)
        backend = self.backend or use.backend
        return opened.spec, make_ready(opened.module, opened.spec, work, backend=backend, folder=folder)
