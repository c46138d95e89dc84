"""An exported network with weights and activations of 8 bits. Needs `pictor[int8]`."""

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.models.backends.exported import INPUT, OUTPUT
from pipeline.adapters.models.onnx.network import OnnxNetwork
from pipeline.errors import ConfigError, ModelError

ITEMS = 8  # of one pass
LAYERS = ("Conv", "Gemm", "MatMul")  # that multiply by weights: nearly all of the time

Images = NDArray[np.float32]  # [N, 3, S, S], normalised


class Quantiser:
    """Writes a network in 8 bits, whole or with some layers in float32. A context manager.

    The ranges of the activations are those that the given images cause, and are found once.
    """

    def __init__(self, network: Path, images: Images, *, model: str) -> None:
        """Args: `network` is an exported one, in float32.

        Raises:
            ConfigError: what it needs is not installed.
        """
        self._tools = _tools()
        self._network = network
        self._images = images
        self._model = model
        self._folder = tempfile.TemporaryDirectory()
        self._prepared = Path(self._folder.name) / "prepared.onnx"

    def __enter__(self) -> Self:
        """Raises ModelError: this network has no form in 8 bits."""
        try:
            with self._quiet():  # folds batch norms
                self._tools.shape_inference.quant_pre_process(str(self._network), str(self._prepared))
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def write(self, target: Path, *, in_float: Collection[str] = (), alone: str = "") -> None:
        """Args: `in_float` are layers that stay in float32. `alone` is the only one that does not.

        Raises:
            ModelError: this network has no form in 8 bits.
        """
        with self._quiet():
            self._tools.quantize_static(
                str(self._prepared),
                str(target),
                _Reader(self._images),
                quant_format=self._tools.QuantFormat.QDQ,
                activation_type=self._tools.QuantType.QUInt8,  # with signed weights, what VNNI multiplies
                weight_type=self._tools.QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(LAYERS),
                nodes_to_quantize=[alone] if alone else None,
                nodes_to_exclude=list(in_float),
                # What a layer takes is in 8 bits, and what it gives is not until another one takes it. So
                # sums and the embedding itself lose nothing more.
                extra_options={"OpTypesToExcludeOutputQuantization": list(LAYERS)},
                calibration_cache_path=str(Path(self._folder.name) / "ranges.json"),
            )

    def losses(self, images: Images) -> Mapping[str, float]:
        """What each layer alone loses in 8 bits, as 1 - cosine to float32, the mean over the images."""
        wanted = _unit_rows(self._prepared, images, self._model)
        found: dict[str, float] = {}
        path = Path(self._folder.name) / "alone.onnx"
        for layer in self.layers:
            self.write(path, alone=layer)
            rows = _unit_rows(path, images, self._model)
            found[layer] = float(1 - (rows * wanted).sum(1).mean())
        return found

    @property
    def layers(self) -> list[str]:
        import onnx

        nodes = onnx.load(str(self._prepared)).graph.node
        return [node.name for node in nodes if node.op_type in LAYERS]

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        root = logging.getLogger()
        was, root.disabled = root.disabled, True  # the tools give advice there
        try:
            yield
        except Exception as err:  # the tools raise whatever their steps do
            raise ModelError(f"{self._model}: this network cannot be computed in int8") from err
        finally:
            root.disabled = was


class _Reader:
    """Hands the images to the tools in small groups."""

    def __init__(self, images: Images) -> None:
        self._groups = _groups(images)

    def get_next(self) -> dict[str, Images] | None:
        group = next(self._groups, None)
        return None if group is None else {INPUT: group}


def _groups(images: Images) -> Iterator[Images]:
    return (images[start : start + ITEMS] for start in range(0, len(images), ITEMS))


def _unit_rows(path: Path, images: Images, model: str) -> NDArray[np.float32]:
    network = OnnxNetwork(path, model=model, threads=1)
    rows = np.concatenate([network.run(group, [OUTPUT])[0] for group in _groups(images)])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _tools() -> Any:
    try:
        import onnxruntime.quantization as tools
        import onnxruntime.quantization.shape_inference  # noqa: F401
    except ImportError as err:
        raise ConfigError("int8 needs ONNX and ONNX Runtime; `pip install 'pictor[int8]'`") from err
    return tools
