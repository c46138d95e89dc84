"""What a family of models can do: know its addresses, describe a model, and make it ready.

A new family is one module in `families`, and one line in `catalogue.FAMILIES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.adapters.models.backends.calibrate import Calibration, Sample
from pipeline.adapters.models.backends.networks import Work
from pipeline.adapters.models.backends.trial import Trial
from pipeline.adapters.models.model_address import ModelAddress
from pipeline.adapters.models.opened import CLOSED, Handover
from pipeline.adapters.models.weights import FetchS3, OpenUrl, WeightsRef, open_url
from pipeline.errors import ConfigError, ModelError
from pipeline.ports import ImageEmbedder, ViewFinder
from pipeline.ports.embedder import TextEmbedder, require_capability
from pipeline.types import Capability, ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the files of models are found, and how they come here.

    `model_store` is an s3:// URL below which models of a hub lie as ORG/NAME. Empty: there is none.
    `handover` takes what `read_spec` has read to `load_images`.
    """

    weights_dir: Path
    fetch_s3: FetchS3 | None = None
    open_url: OpenUrl = open_url
    model_store: str = ""
    handover: Handover = CLOSED


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """How a model will be used. See `catalogue.load_embedder`."""

    device: str
    precision: str
    group_items: int
    batches: int
    threads: int  # for forward passes on a CPU
    before_pass: Callable[[], None]
    backend: str = "torch"


@dataclass(frozen=True, kw_only=True, slots=True)
class PulledModel:
    """A model whose files are on this machine now. `files` maps their names in `folder` to SHA-256.

    `commit` is the version of a hub's copy; empty where there are none.
    """

    folder: Path
    files: Mapping[str, str]
    size_bytes: int
    commit: str = ""


class ModelFamily(Protocol):
    """Models that are found, described and loaded in the same way."""

    form: str  # of an address that is a name, for messages: "torchvision/NAME". Empty: it has none
    architectures: Sequence[str]  # that a model file can name, for messages
    backend: str = ""  # that runs all of its models. Empty: there is a choice

    def recognises(self, address: ModelAddress) -> bool:
        """Whether the address is of this family. Nothing is fetched, and no large library is imported."""
        ...

    def files(self, address: ModelAddress, /) -> Sequence[WeightsRef]:  # noqa: ARG002
        """The files that a model file names, for who gives rights to read them. A folder ends in "/".

        Raises:
            ModelError: the model file is faulty.
        """
        return ()

    def read_spec(self, address: ModelAddress, places: Places, /) -> ModelSpec:
        """Read the weights, as the fingerprint covers them. No forward pass of an image.

        A model with two towers has `Capability.TEXT` beside `IMAGES`, and its fingerprint covers both towers.

        Raises:
            ModelError: the files cannot be found, read or trusted.
            ConfigError: a library that it needs is not installed.
        """
        ...

    def load_images(self, address: ModelAddress, places: Places, use: Use, /) -> ImageEmbedder:
        """Make the model, or its tower of images, ready for a device.

        Raises:
            ModelError, ConfigError: as `read_spec` does, or the device is not there.
        """
        ...

    def pull(self, address: ModelAddress, places: Places, /, *, revision: str) -> PulledModel:  # noqa: ARG002
        """Download the model's files. Safe to run twice: what is there and whole is not fetched again.

        Args:
            revision: a branch, tag or commit of a hub's copy.

        Raises:
            ModelError: it has nothing to download, is not to be had, or is not what was promised.
        """
        raise ModelError(f"model {address.text!r} has nothing to download")

    def try_backends(self, address: ModelAddress, _places: Places, _work: Work, /) -> Sequence[Trial]:
        """Of a family whose models are run by a choice of backends. Raises as `read_spec` does."""
        raise ModelError(f"model {address.text!r} has no choice of backends")

    def in_int8(self, spec: ModelSpec, _places: Places, /) -> ModelSpec:
        """The spec of a calibrated model. Raises ModelError, ConfigError: there is none."""
        raise ConfigError(
            f"PICTOR_PRECISION is int8, and model {spec.name!r} has no form in int8; "
            "set it to auto or float32"
        )

    def calibrate(self, address: ModelAddress, _places: Places, _sample: Sample, /) -> Calibration:
        """See `backends.calibrate.calibrate`. A model without a form in int8 takes no sample."""
        raise ConfigError(f"model {address.text!r} has no form in int8")

    def load_texts(self, address: ModelAddress, places: Places, /) -> TextEmbedder:
        """Make the tower of texts ready, on the CPU, and keep no tower of images.

        The embedder has the spec of the whole model, and gives rows of `spec.dim` numbers in the space of the
        images: projected and cut as these are.

        Raises:
            ModelError, ConfigError: as `read_spec` does, or the model has no such tower.
        """
        spec = self.read_spec(address, places)
        require_capability(spec, Capability.TEXT)
        raise ModelError(f"model {spec.name!r} has a tower of texts that cannot be loaded")

    def load_finder(self, spec: ModelSpec, places: Places, /) -> ViewFinder:  # noqa: ARG002
        """Asked for a spec with `Capability.VIEWS` alone. Raises as `load_texts` does."""
        raise ModelError(f"model {spec.name!r} cannot be asked for {Capability.VIEWS}")
