"""From a face model's file to its spec, its finder and its embedder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pipeline.adapters.models.builtin_spec import fingerprint_of
from pipeline.adapters.models.faces.face_file import FaceFile
from pipeline.adapters.models.faces.finder import FaceFinder
from pipeline.adapters.models.faces.onnx_embedder import OnnxEmbedder
from pipeline.adapters.models.faces.yunet import YuNet
from pipeline.adapters.models.onnx.network import SUFFIX, OnnxNetwork, has_cuda
from pipeline.adapters.models.torch_embedder import pick_device, share_cores
from pipeline.adapters.models.weights import FetchS3, WeightsRef, find_weights
from pipeline.types import Capability, ModelSpec

# Part of the fingerprint. Change it with anything here that moves a crop or a vector.
VERSION = "1"


def face_spec(file: FaceFile, address: str) -> ModelSpec:
    """The fingerprint covers both networks, as their digests do, and all settings. No file is read."""
    covered = {
        "version": VERSION,
        "networks": [file.detector.sha256, file.network.sha256],
        "finder": asdict(file.finder),
        "aligner": asdict(file.aligner),
        "embedder": asdict(file.embedder),
    }
    digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()
    architecture = f"faces/{file.finder.detector}+onnx"
    return ModelSpec(
        name=file.name,
        address=str(Path(address).resolve()),
        architecture=architecture,
        fingerprint=fingerprint_of(digest, architecture, file.preprocessing),
        dim=file.embedder.dim,
        preprocessing=file.preprocessing,
        capabilities=(Capability.IMAGES, Capability.VIEWS),
    )


def find_networks(file: FaceFile, *, weights_dir: Path, fetch_s3: FetchS3 | None = None) -> None:
    """Check both files, and fetch those of a bucket. Raises ModelError, as `find_weights` does."""
    for ref in (file.detector, file.network):
        _find(ref, file, weights_dir, fetch_s3)


def load_face_finder(file: FaceFile, *, weights_dir: Path, fetch_s3: FetchS3 | None = None) -> FaceFinder:
    """On the CPU, and on the one core of the thread that decodes the picture.

    Raises:
        ModelError: the detector cannot be found, read or trusted.
        ConfigError: ONNX Runtime is not installed.
    """
    path = _find(file.detector, file, weights_dir, fetch_s3)
    detector = YuNet(OnnxNetwork(path, model=file.name), min_score=file.finder.min_score)
    return FaceFinder(detector, file.finder, file.aligner)


def load_face_embedder(
    file: FaceFile,
    address: str,
    *,
    weights_dir: Path,
    device: str,
    group_items: int,
    batches: int,
    threads: int,
    before_pass: Callable[[], None],
    fetch_s3: FetchS3 | None = None,
) -> OnnxEmbedder:
    """See `catalogue.load_embedder`.

    Raises:
        ModelError: the embedder cannot be found, read or trusted, or gives other vectors than the file says.
        ConfigError: ONNX Runtime is not installed, or the device is not there.
    """
    chosen = pick_device("cpu" if device == "auto" and not has_cuda() else device)
    path = _find(file.network, file, weights_dir, fetch_s3)
    passes, pass_threads = share_cores(chosen, threads=threads, batches=batches, group_items=group_items)
    network = OnnxNetwork(path, model=file.name, device=str(chosen), threads=pass_threads)
    return OnnxEmbedder(
        network,
        face_spec(file, address),
        file.embedder,
        group_items=group_items,
        passes=passes,
        before_pass=before_pass,
    )


def _find(ref: WeightsRef, file: FaceFile, weights_dir: Path, fetch_s3: FetchS3 | None) -> Path:
    return find_weights(ref, model=file.name, weights_dir=weights_dir, fetch_s3=fetch_s3, suffixes=(SUFFIX,))
