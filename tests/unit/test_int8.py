"""A network in int8: calibrated on a sample, guarded by its neighbours, and a model of its own."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.adapters.models.backends.backend import Backend, is_installed
from pipeline.adapters.models.backends.calibrate import calibrate
from pipeline.adapters.models.backends.choose import make_ready_in_int8
from pipeline.adapters.models.backends.int8 import (
    find,
    keep,
    keeps_neighbours,
    recall_against,
    refusal,
    spec_in_int8,
)
from pipeline.adapters.models.backends.networks import Work
from pipeline.errors import ArgumentError, ConfigError, ModelError
from pipeline.ports.model_binding import choose_precision
from pipeline.service.sample_pixels import sample_refs
from pipeline.types import Int8Recall, ObjectRef
from tests.conftest import missing
from tests.onnx_models import network, write_onnx_model
from tests.unit.commands import Output, pictor
from tests.unit.test_backends import embedder_of
from tests.unit.test_inference import SIDE
from tests.unit.test_inference import SPEC as ANY_SPEC
from tests.unit.test_precision_record import collection_of

DIM = 8 * (SIDE // 4) ** 2
SPEC = replace(ANY_SPEC, dim=DIM)
INT8 = Work(precision="int8")


class Cells(nn.Module):
    """A convolution that 8 bits hold well."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.cut = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        cells: Tensor = self.cut(images)
        return cells.flatten(1)


class Cancelling(Cells):
    """What tells its images apart is a small difference of large numbers, which 8 bits do not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        for layer, bias in ((self.up, 20_000.0), (self.down, -20_000.0)):
            nn.init.eye_(layer.weight)
            nn.init.constant_(layer.bias, bias)

    def forward(self, images: Tensor) -> Tensor:
        down: Tensor = self.down(torch.relu(self.up(super().forward(images))))
        return down


def alike(items: int) -> NDArray[np.uint8]:
    """Groups of eleven, each of one picture and a little noise: ten neighbours of each are clear."""
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 240, (items // 11 + 1, 3, SIDE, SIDE)).repeat(11, axis=0)[:items]
    return (groups + rng.integers(0, 15, groups.shape)).astype(np.uint8)


@pytest.fixture(autouse=True)
def needs_onnx_runtime() -> None:
    if not is_installed(Backend.ONNXRUNTIME):
        missing("onnxruntime is not installed")


def test_a_calibrated_network_finds_the_neighbours_of_float32_and_is_another_model(tmp_path: Path) -> None:
    images = alike(121)
    made = calibrate(Cells(), SPEC, images, folder=tmp_path, min_gain=0)
    assert made.recall >= 0.98
    assert (made.images, made.layers, made.in_float) == (121, 1, 0)
    assert made.spec.fingerprint != SPEC.fingerprint
    assert made.spec.int8 == Int8Recall(recall_at_10=made.recall, images=121)
    assert replace(made.spec, fingerprint=SPEC.fingerprint, int8=None) == SPEC
    assert spec_in_int8(SPEC, tmp_path) == made.spec
    spec, network = make_ready_in_int8(SPEC, INT8, backend="auto", folder=tmp_path)
    assert (spec, network.backend, network.precision) == (made.spec, made.backend, "int8")
    wanted = Cells()(torch.from_numpy((images / 255 - 0.5) / 0.25).float()).detach().numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = embedder_of(network, spec=SPEC).embed_images(images)
    assert (found * wanted).sum(1).min() > 0.99
    assert not np.allclose(found, wanted, atol=1e-6)  # it is computed in 8 bits


def test_a_network_that_loses_its_neighbours_is_refused_with_the_number_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"recall@10 .* is 0\.\d+ on 121 images, .*float32 stays"):
        calibrate(Cancelling(), SPEC, alike(121), folder=tmp_path, min_gain=1e6)
    with pytest.raises(ModelError, match=r"no calibration of it; `pictor models calibrate fake SOURCE`"):
        spec_in_int8(SPEC, tmp_path)


def test_the_layers_that_lose_most_stay_in_float32(tmp_path: Path) -> None:
    """Of three layers one takes large numbers with small differences, and the others what 8 bits hold."""
    made = calibrate(Cancelling(), SPEC, alike(121), folder=tmp_path, min_gain=0)
    assert (made.layers, made.recall >= 0.98) == (3, True)
    assert 0 < made.in_float < made.layers
    [path] = tmp_path.glob("*-int8.onnx")
    nodes = onnx.load(path).graph.node
    eight_bits = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    takes = {node.name: node.input[0] in eight_bits for node in nodes if node.op_type in ("Conv", "Gemm")}
    assert [is_int8 for name, is_int8 in takes.items() if "cut" in name] == [True]
    assert [is_int8 for name, is_int8 in takes.items() if "down" in name] == [False]


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="99 images are too few for int8; at least 100"):
        calibrate(Cells(), SPEC, alike(99), folder=tmp_path)


def test_a_model_without_a_form_in_int8_is_refused_before_any_image_is_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    onnx_model = str(write_onnx_model(home, network()))
    for model in ("builtin", onnx_model):
        assert pictor(monkeypatch, "models", "calibrate", model, str(home / "missing")) == 2
        assert f"model {model!r} has no form in int8" in " ".join(capsys.readouterr().err.split())


def test_recall_is_the_share_of_neighbours_that_stay() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    others = rng.normal(size=(200, 32)).astype(np.float32)
    assert recall_against(rows, rows) == 1
    assert recall_against(rows, -rows) == 1  # the cosines are the same
    assert recall_against(rows, others) < 0.1


@pytest.mark.parametrize(("recall", "is_kept"), [(0.98, True), (0.979, False), (float("nan"), False)])
def test_the_guard_is_at_98_percent(recall: float, is_kept: bool) -> None:
    assert keeps_neighbours(recall) is is_kept
    assert f"is {recall:.3f} on 500 images" in str(refusal(SPEC, recall, 500))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of a calibration, which nobody computes with."""
    (tmp_path / "fresh").write_bytes(b"a network")
    folder = tmp_path / "backends"
    keep(tmp_path / "fresh", SPEC, Backend.ONNXRUNTIME, images=500, recall=0.99, folder=folder)
    return folder


@pytest.mark.parametrize("file", ["onnx", "json"])
def test_a_damaged_calibration_is_refused(kept: Path, file: str) -> None:
    [path] = kept.glob(f"*.{file}")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ModelError, match=r"is damaged; `pictor models calibrate"):
        find(SPEC, kept)


def test_another_calibration_or_another_backend_is_another_model(kept: Path) -> None:
    fingerprints = {spec_in_int8(SPEC, kept).fingerprint}
    for body, backend in ((b"another", Backend.ONNXRUNTIME), (b"another", Backend.OPENVINO)):
        (kept / "fresh").write_bytes(body)
        made = keep(kept / "fresh", SPEC, backend, images=500, recall=0.99, folder=kept)
        fingerprints.add(made.fingerprint)
    assert len(fingerprints) == 3


def test_another_recall_is_the_same_model(kept: Path) -> None:
    """It is told, and no part of the fingerprint."""
    before = spec_in_int8(SPEC, kept)
    made = keep(kept.parent / "fresh", SPEC, Backend.ONNXRUNTIME, images=200, recall=1.0, folder=kept)
    assert made == spec_in_int8(SPEC, kept) == replace(before, int8=Int8Recall(recall_at_10=1.0, images=200))
    assert before.int8 == Int8Recall(recall_at_10=0.99, images=500)


def test_the_backend_and_the_device_must_be_those_of_the_calibration(kept: Path) -> None:
    for backend in ("torch", "openvino"):
        with pytest.raises(ConfigError, match="calibrated for int8 with onnxruntime; set PICTOR_BACKEND"):
            make_ready_in_int8(SPEC, INT8, backend=backend, folder=kept)
    gpu = Work(precision="int8", device=torch.device("cuda", 0))
    with pytest.raises(ConfigError, match="int8, which is for CPUs, and the device is cuda:0"):
        make_ready_in_int8(SPEC, gpu, backend="auto", folder=kept)


def test_a_collection_in_int8_stays_in_int8() -> None:
    assert choose_precision("auto", collection_of("int8")) == "int8"
    assert choose_precision("int8", collection_of("int8")) == "int8"
    assert choose_precision("int8", None) == "int8"


@pytest.mark.parametrize(
    ("asked", "recorded"),
    [("int8", "float32"), ("int8", "auto"), ("int8", "bfloat16"), ("float32", "int8"), ("bfloat16", "int8")],
)
def test_int8_mixes_with_nothing(asked: str, recorded: str) -> None:
    with pytest.raises(ConfigError, match=f"holds .* in {recorded}, and PICTOR_PRECISION is {asked}"):
        choose_precision(asked, collection_of(recorded))


def test_a_sample_is_by_chance_and_the_same_each_time() -> None:
    def listed() -> Iterator[ObjectRef]:
        for number in range(1000):
            yield ObjectRef(bucket="b", key=f"{number:04}.jpg", etag="e", size_bytes=1)

    once = [ref.key for ref in sample_refs(listed(), 50)]
    assert once == [ref.key for ref in sample_refs(listed(), 50)]
    assert len(set(once)) == 50
    assert max(once) > "0500.jpg"
    assert len(sample_refs(listed(), 5000)) == 1000
