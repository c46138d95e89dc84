"""Face models: their files, their networks, and the faces that they find in pictures."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from pipeline.adapters.models.catalogue import load_embedder, load_finder, load_spec
from pipeline.adapters.models.faces.face_file import read_face_table
from pipeline.adapters.models.faces.finder import FaceFinder
from pipeline.adapters.models.faces.onnx_embedder import OnnxEmbedder
from pipeline.adapters.models.onnx.network import (
    CPU,
    CUDA,
    OnnxNetwork,
    _raise_failed,
    check_provider,
    providers_of,
)
from pipeline.errors import ConfigError, FatalError, ModelError, TransientError
from pipeline.ports import ImageEmbedder
from pipeline.types import Box, Capability, ModelSpec, Pixels, View
from tests.face_models import (
    DIM,
    DrawnFace,
    colours_of,
    draw,
    embedder_network,
    write_face_model,
    write_model_file,
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_model(tmp_path_factory.mktemp("faces"))


def spec_of(path: Path) -> ModelSpec:
    return load_spec(str(path), weights_dir=path.parent)


def finder_in(path: Path) -> FaceFinder:
    finder = load_finder(spec_of(path), weights_dir=path.parent)
    assert isinstance(finder, FaceFinder)
    return finder


def embedder_in(path: Path, *, group_items: int = 4, batches: int = 0, device: str = "cpu") -> ImageEmbedder:
    return load_embedder(
        str(path),
        weights_dir=path.parent,
        device=device,
        group_items=group_items,
        batches=batches,
        threads=2,
    )


def boxes(views: Sequence[View]) -> list[Box | None]:
    return [view.box for view in views]


def box_of(face: DrawnFace, scale: int = 1) -> Box:
    side = face.side_px * scale
    return Box(left=face.left * scale, top=face.top * scale, width=side, height=side)


def test_a_face_model_says_what_it_is_without_running(model_file: Path) -> None:
    spec = spec_of(model_file)
    assert (spec.name, spec.dim, spec.address) == ("tiny-faces", DIM, str(model_file))
    assert spec.capabilities == (Capability.IMAGES, Capability.VIEWS)
    assert (spec.preprocessing.crop, spec.architecture) == (112, "faces/yunet+onnx")


FINDER_LINES = [
    "side_px = 320",
    "min_score = 0.5",
    "max_overlap = 0.4",
    "max_faces = 7",
    "min_face_px = 50",
]
EMBEDDER_LINES = [
    'layout = "nhwc"',
    'channels = "bgr"',
    "mean = [0.4, 0.5, 0.5]",
    "std = [0.5, 0.5, 0.4]",
]


def test_every_setting_and_every_byte_of_a_network_is_in_the_fingerprint(tmp_path: Path) -> None:
    base = write_face_model(tmp_path / "base")
    prints = [spec_of(base).fingerprint]
    prints += [spec_of(write_face_model(tmp_path / line, finder=line)).fingerprint for line in FINDER_LINES]
    prints += [
        spec_of(write_face_model(tmp_path / line, embedder=f"dim = {DIM}\n{line}")).fingerprint
        for line in EMBEDDER_LINES
    ]
    for network in ("detector", "embedder"):
        folder = tmp_path / network
        write_face_model(folder)
        made = onnx.load(folder / f"{network}.onnx")
        numbers = next(tensor for tensor in made.graph.initializer if len(tensor.raw_data) > 8)
        numbers.raw_data = bytes([numbers.raw_data[0] ^ 1]) + numbers.raw_data[1:]
        onnx.save(made, folder / f"{network}.onnx")
        prints.append(spec_of(write_model_file(folder)).fingerprint)
    assert len(set(prints)) == len(prints) == 1 + len(FINDER_LINES) + len(EMBEDDER_LINES) + 2
    elsewhere = write_face_model(tmp_path / "elsewhere", name="another-name")
    assert spec_of(elsewhere).fingerprint == prints[0], "neither name nor place is part of it"


@pytest.mark.parametrize(
    ("finder", "embedder", "words"),
    [
        ("min_score = 1.5", "", "[finder]: min_score = 1.5, it must be a number above 0 and under 1"),
        ("max_faces = 101", "", "[finder]: max_faces = 101, it must be a whole number of 1 to 100"),
        ("color = 1", "", "[finder]: unknown key 'color'"),
        ("", 'layout = "nchw"', "[embedder]: key 'dim' is missing"),
        ("", 'dim = 48\nchannels = "grb"', '[embedder]: channels = \'grb\', it must be "rgb" or "bgr"'),
        ("", "dim = 48\nstd = [0, 1, 1]", "it must be three numbers above zero"),
    ],
)
def test_a_section_with_an_unusable_key_is_named(
    tmp_path: Path, finder: str, embedder: str, words: str
) -> None:
    path = write_face_model(tmp_path, finder=finder, embedder=embedder)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        spec_of(path)
    assert str(path) in str(caught.value)


def test_a_model_file_without_one_of_the_sections_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.toml"
    path.write_text('name = "half"\n[finder]\ndetector = "yunet"\n')
    with pytest.raises(ModelError, match="key 'aligner' is missing; required are name, finder, aligner"):
        spec_of(path)


@pytest.mark.parametrize("network", ["detector", "embedder"])
def test_a_network_that_is_not_the_promised_one_is_refused(tmp_path: Path, network: str) -> None:
    path = write_face_model(tmp_path)
    with (tmp_path / f"{network}.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=f"weights .*{network}.onnx: SHA-256 is .*, .* was promised"):
        spec_of(path)


def test_a_model_file_that_was_changed_under_a_running_process_is_refused(tmp_path: Path) -> None:
    path = write_face_model(tmp_path)
    spec = spec_of(path)
    write_model_file(tmp_path, finder="max_faces = 3")
    with pytest.raises(ModelError, match=f"has changed since its model {spec.fingerprint[:8]} was read"):
        load_finder(spec, weights_dir=tmp_path)


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    path = write_face_model(tmp_path)
    (tmp_path / "detector.onnx").write_bytes(b"no network")
    (tmp_path / "embedder.onnx").write_bytes(b"none either")
    path = write_model_file(tmp_path)
    with pytest.raises(ModelError, match=r"tiny-faces: detector.onnx: damaged, not an ONNX file"):
        finder_in(path)
    with pytest.raises(ModelError, match=r"tiny-faces: embedder.onnx: damaged, not an ONNX file"):
        embedder_in(path)


def test_tensors_in_another_file_are_refused_since_no_digest_covers_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_face_model(tmp_path)
    made = onnx.load(tmp_path / "embedder.onnx")
    onnx.save(
        made,
        tmp_path / "embedder.onnx",
        save_as_external_data=True,
        location="tensors.bin",
        size_threshold=0,
    )
    assert (tmp_path / "tensors.bin").is_file()
    monkeypatch.chdir(tmp_path)  # where ONNX Runtime would look for it
    path = write_model_file(tmp_path)
    with pytest.raises(ModelError, match="with tensors in other files"):
        embedder_in(path)


def test_a_network_with_other_outputs_is_no_detector(tmp_path: Path) -> None:
    write_face_model(tmp_path)
    (tmp_path / "detector.onnx").write_bytes(embedder_network())
    with pytest.raises(ModelError, match="output 'bbox_16' is missing; YuNet has cls_8, cls_16"):
        finder_in(write_model_file(tmp_path))


def test_an_embedder_of_another_length_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    path = write_face_model(tmp_path, embedder="dim = 47")
    with pytest.raises(ModelError, match="gives 48 numbers, and the model file says dim = 47"):
        embedder_in(path)


def test_a_gpu_without_its_runtime_is_a_setting_that_cannot_work(model_file: Path) -> None:
    with pytest.raises(ConfigError, match="cuda:0"):
        embedder_in(model_file, device="cuda:0")


def test_faces_are_found_largest_first_and_cut_out(model_file: Path) -> None:
    small, large = DrawnFace(person=1, column=1, row=2), DrawnFace(person=2, column=9, row=4, stride=16)
    views = finder_in(model_file).find_views(draw([small, large]))
    assert boxes(views) == [box_of(large), box_of(small)]
    for view, face in zip(views, (large, small), strict=True):
        assert (view.pixels.dtype.name, view.pixels.shape) == ("uint8", (3, 112, 112))
        cells = view.pixels.reshape(3, 4, 28, 4, 28)[:, :, 8:20, :, 8:20].mean(axis=(2, 4))
        inner = cells.transpose(1, 2, 0)
        assert np.abs(inner - colours_of(face.person)).max() < 12, "the mark reaches into four cells"


def test_what_is_known_of_a_face_is_in_pixels_of_the_picture(model_file: Path) -> None:
    face = DrawnFace(person=1, column=10, row=10)
    [view] = finder_in(model_file).find_views(draw([face]))
    known = view.face
    assert known is not None
    assert known.confidence == pytest.approx(1.0, abs=1e-5)
    assert known.eyes_px == pytest.approx(64 * 35.24 / 112, abs=0.05)
    (left_x, left_y), (right_x, right_y), *_ = known.points
    assert 84 < left_x < right_x < 148
    assert 84 < left_y < 116
    assert abs(right_y - left_y) < 1
    assert max(abs(known.yaw), abs(known.pitch), abs(known.roll)) < 3, "it looks into the camera"


def test_no_face_is_an_answer(model_file: Path) -> None:
    assert finder_in(model_file).find_views(draw([])) == []
    assert finder_in(model_file).find_views(np.zeros((1, 1, 3), np.uint8)) == []


def test_the_largest_faces_are_kept_when_there_are_too_many(tmp_path: Path) -> None:
    faces = [DrawnFace(person=n, column=9 * n) for n in range(3)]
    large = DrawnFace(person=9, column=6, row=5, stride=16)
    finder = finder_in(write_face_model(tmp_path, finder="max_faces = 2"))
    assert boxes(finder.find_views(draw([*faces, large]))) == [box_of(large), box_of(faces[0])]


def test_the_same_views_come_each_time(model_file: Path) -> None:
    rgb = draw([DrawnFace(person=n, column=9 * n) for n in range(4)])
    first, second = (finder_in(model_file).find_views(rgb) for _ in range(2))
    assert boxes(first) == boxes(second)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))


def crops(count: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 112, 112)).astype(np.uint8)


def cells_of(pixels: Pixels) -> NDArray[np.float64]:
    rows = (
        (pixels / 255 - 0.5).reshape(len(pixels), 3, 4, 28, 4, 28).mean(axis=(3, 5)).reshape(len(pixels), -1)
    )
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("items", ["items", 1, 3])
@pytest.mark.parametrize("batches", [0, 2])
def test_groups_of_any_size_give_unit_rows_in_order(tmp_path: Path, items: int | str, batches: int) -> None:
    write_face_model(tmp_path)
    (tmp_path / "embedder.onnx").write_bytes(embedder_network(items=items))
    embedder = embedder_in(write_model_file(tmp_path), batches=batches)
    for count in (1, 4, 7):
        rows = embedder.embed_images(crops(count))
        assert (rows.dtype.name, rows.shape) == ("float32", (count, DIM))
        assert np.allclose(rows, cells_of(crops(count)), atol=1e-4)
    with pytest.raises(ValueError, match="uint8"):
        embedder.embed_images(crops(1)[:, :, :100])


def test_layout_and_order_of_colours_are_as_the_model_file_says(tmp_path: Path) -> None:
    write_face_model(tmp_path)
    (tmp_path / "embedder.onnx").write_bytes(embedder_network(layout="nhwc", first_channel=True))
    lines = f'dim = {DIM}\nlayout = "nhwc"\nchannels = "bgr"'
    rows = embedder_in(write_model_file(tmp_path, embedder=lines)).embed_images(crops(2))
    blue = crops(2)[:, 2]
    expected = (blue / 255 - 0.5).reshape(2, 4, 28, 4, 28).mean(axis=(2, 4)).reshape(2, -1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(rows[:, :16], expected, atol=1e-4)


def test_a_row_without_a_direction_is_not_a_number(tmp_path: Path) -> None:
    lines = f"dim = {DIM}\nmean = [0, 0, 0]\nstd = [1, 1, 1]"
    embedder = embedder_in(write_face_model(tmp_path, embedder=lines))
    rows = embedder.embed_images(np.stack([np.zeros((3, 112, 112), np.uint8), *crops(1)]))
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()


def test_a_gpu_is_asked_for_by_its_number_and_shared_with_others() -> None:
    (first, options), second = providers_of("cuda:1", "faces", [CUDA, CPU])
    assert (first, options["device_id"], second) == (CUDA, 1, CPU)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert providers_of("cuda", "faces", [CUDA, CPU])[0][1]["device_id"] == 0
    assert providers_of("cpu", "faces", [CUDA, CPU]) == [CPU]
    with pytest.raises(ConfigError, match="computes on CPUs alone"):
        providers_of("cuda:0", "faces", [CPU])


class SmallGpu(OnnxNetwork):
    """A CPU that says of itself what a GPU with room for two faces would say."""

    room = 2
    words = "Failed to allocate memory for requested buffer of size 1048576"

    def run(self, blob: NDArray[np.float32] | NDArray[np.uint8], outputs: Sequence[str]) -> list[Any]:
        if len(blob) > self.room:
            _raise_failed(RuntimeError(self.words), self.name, "cuda:0", blob)
        return super().run(blob, outputs)


def embedder_on(network: OnnxNetwork, path: Path) -> OnnxEmbedder:
    file = read_face_table(tomllib.loads(path.read_text()), path)
    spec = load_spec(str(path), weights_dir=path.parent)
    return OnnxEmbedder(network, spec, file.embedder, group_items=8)


def test_a_gpu_without_room_for_a_group_gets_smaller_ones(tmp_path: Path) -> None:
    path = write_face_model(tmp_path)
    network = SmallGpu(path.with_name("embedder.onnx"), model="faces")
    embedder = embedder_on(network, path)
    faces = crops(5)
    np.testing.assert_allclose(embedder.embed_images(faces), embedder_in(path).embed_images(faces), atol=1e-6)
    assert embedder.group_items == 2, "it does not try again what was too much"
    network.room = 0
    with pytest.raises(TransientError, match="no memory left"):
        embedder.embed_images(faces)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("CUDNN_STATUS_ALLOC_FAILED", torch.OutOfMemoryError),
        ("CUDA failure 2: out of memory", torch.OutOfMemoryError),
        ("CUDA failure 700: an illegal memory access was encountered", FatalError),
    ],
)
def test_a_gpu_that_is_full_is_told_from_one_that_failed(words: str, expected: type[Exception]) -> None:
    blob = np.zeros((3, 3, 4, 4), np.float32)
    with pytest.raises(expected, match=r"\[3, 3, 4, 4\]"):
        _raise_failed(RuntimeError(words), "faces", "cuda:0", blob)


def test_a_gpu_that_onnx_runtime_has_silently_left_is_an_error() -> None:
    check_provider("cuda:0", "faces", [CUDA, CPU])
    check_provider("cpu", "faces", [CPU])
    with pytest.raises(ConfigError, match="could not load its part for cuda:0"):
        check_provider("cuda:0", "faces", [CPU])
