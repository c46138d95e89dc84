"""A torch network as an ONNX file, written once for each model and kept beside the weights."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from pipeline.adapters.models.passes import PASSES
from pipeline.adapters.models.weights import digest_file
from pipeline.adapters.models.whole_file import write_whole
from pipeline.errors import ModelError
from pipeline.types import ModelSpec

logger = logging.getLogger(__name__)

VERSION = "1"  # of what is written here: change it with the arguments of the export
INPUT, OUTPUT = "pixels", "features"


@contextmanager
def exported(module: nn.Module, spec: ModelSpec, folder: Path) -> Iterator[Path]:
    """The file. Within this block alone where the folder cannot be written: it is then made each time.

    Args:
        module: on a CPU, [N, 3, S, S] of normalised float32 to [N, D].

    Raises:
        ModelError: torch cannot export this network.
    """
    path = folder / f"{spec.fingerprint[:16]}-torch-{torch.__version__}-{VERSION}.onnx"
    if _is_whole(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / path.name
        _export(module, spec, fresh)
        yield path if _keep(fresh, path) else fresh


def _export(module: nn.Module, spec: ModelSpec, path: Path) -> None:
    side = spec.preprocessing.crop
    images = torch.zeros(2, 3, side, side)  # two: of one image, torch may take the 1 for a constant
    try:
        with PASSES.none(), _plain_attention(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of each branch that it follows
            # The exporter that follows torch.jit: the other one needs the compiler and three packages more.
            torch.onnx.export(
                module,
                (images,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "items"}, OUTPUT: {0: "items"}},
                dynamo=False,
            )
    except Exception as err:  # whatever the code of a network raises when it is followed
        raise ModelError(f"{spec.name}: torch cannot export this network to ONNX") from err


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without torch's one fast operation for attention, which has no name in ONNX."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _is_whole(path: Path) -> bool:
    """Whether its digest is that which was written beside it."""
    try:
        return digest_file(path) == _digest_path(path).read_text().strip()
    except OSError:
        return False


def _keep(fresh: Path, path: Path) -> bool:
    """Both are renamed into place whole. The digest comes last: without it the file does not count."""
    try:
        write_whole(path, fresh.read_bytes())
        write_whole(_digest_path(path), f"{digest_file(fresh)}\n".encode())
    except OSError as err:
        logger.warning("an exported network is not kept", extra={"path": str(path), "why": err.strerror})
        return False
    return True


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".onnx.sha256")
