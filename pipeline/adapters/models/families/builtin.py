"""The descriptor without training. See `builtin_descriptor`."""

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.builtin_descriptor import BuiltinDescriptor
from pipeline.adapters.models.builtin_spec import BUILTIN, builtin_spec
from pipeline.adapters.models.family import ModelFamily, Places
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.opened import OpenedModel
from pipeline.adapters.models.torch_family import TorchFamily
from pipeline.types import ModelSpec


class BuiltinFamily(TorchFamily):
    form = BUILTIN
    architectures = ()
    backend = Backend.TORCH

    def recognises(self, address: ModelAddress) -> bool:
        return address.text == BUILTIN

    def in_int8(self, spec: ModelSpec, places: Places) -> ModelSpec:
        return ModelFamily.in_int8(self, spec, places)

    def open(self, _address: ModelAddress, _places: Places, /) -> OpenedModel:
        # It has no weights to be fast with: its histograms are float32 always.
        return OpenedModel(spec=builtin_spec(), module=BuiltinDescriptor(), precision="float32")
