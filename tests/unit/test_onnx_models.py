"""Networks in ONNX files: whatever the layout, the batch and the answer, the same rows."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from pipeline.adapters.models.catalogue import list_files, load_embedder, load_spec
from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder
from pipeline.types import ModelSpec
from tests.onnx_models import DIM, SIDE_PX, network, write_onnx_model

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 3, SIDE_PX, SIDE_PX), np.uint8)
MEAN = np.array([0.5, 0.4, 0.3], np.float32).reshape(1, 3, 1, 1)
STD = np.array([0.2, 0.25, 0.3], np.float32).reshape(1, 3, 1, 1)


def load(path: Path, *, batches: int = 0) -> ImageEmbedder:
    return load_embedder(
        str(path), weights_dir=path.parent, device="cpu", group_items=3, batches=batches, threads=2
    )


def spec_of(path: Path) -> ModelSpec:
    return load_spec(str(path), weights_dir=path.parent)


def own_rows() -> NDArray[np.float32]:
    """By ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(network())
    (rows,) = session.run(["rows"], {"pixels": (PIXELS.astype(np.float32) / 255 - MEAN) / STD})
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # type: ignore[no-any-return]


SAME: dict[str, tuple[bytes, dict[str, str]]] = {
    "as it is": (network(), {}),
    "channels last": (network(layout="nhwc"), {"layout": '"nhwc"'}),
    "one image at once": (network(items=1), {}),
    "four at once": (network(items=4), {}),
    "places": (network(answer="places"), {"pooling": '"mean"'}),
    "tokens": (network(answer="tokens"), {"pooling": '"mean"'}),
    "named ends": (network(), {"input": '"pixels"', "output": '"rows"'}),
}


@pytest.mark.parametrize("batches", [0, 2])
@pytest.mark.parametrize("kind", SAME)
def test_the_rows_are_those_of_onnx_runtime(tmp_path: Path, kind: str, batches: int) -> None:
    body, keys = SAME[kind]
    embedder = load(write_onnx_model(tmp_path, body, **keys), batches=batches)
    np.testing.assert_allclose(embedder.embed_images(PIXELS), own_rows(), atol=1e-5)


def test_a_network_that_normalises_by_itself_gets_the_bytes(tmp_path: Path) -> None:
    keys = {"values": '"bytes"', "mean": "", "std": ""}
    bytes_in = load(write_onnx_model(tmp_path / "bytes", network(takes_bytes=True), **keys))
    scaled = load(write_onnx_model(tmp_path, network(), mean="[0, 0, 0]", std=f"{[1 / 255] * 3}"))
    np.testing.assert_allclose(bytes_in.embed_images(PIXELS), scaled.embed_images(PIXELS), atol=1e-5)


def test_channels_of_old_networks_are_turned(tmp_path: Path) -> None:
    turned = load(write_onnx_model(tmp_path, network(), channels='"bgr"'))
    plain = load(
        write_onnx_model(tmp_path / "plain", network(), mean="[0.3, 0.4, 0.5]", std="[0.3, 0.25, 0.2]")
    )
    np.testing.assert_allclose(turned.embed_images(PIXELS), plain.embed_images(PIXELS[:, ::-1]), atol=1e-5)


def test_a_cut_keeps_the_first_numbers_and_is_another_model(tmp_path: Path) -> None:
    cut = write_onnx_model(tmp_path / "cut", network(), embedding="dim = 3")
    whole = write_onnx_model(tmp_path, network())
    first = own_rows()[:, :3]
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(load(cut).embed_images(PIXELS), expected, atol=1e-5)
    assert (spec_of(cut).dim, spec_of(whole).dim) == (3, DIM)
    assert spec_of(cut).fingerprint != spec_of(whole).fingerprint


@pytest.mark.parametrize(
    "keys", [{"mean": "[0, 0, 0]"}, {"channels": '"bgr"'}, {"resize": "20"}, {"fit": '"stretch"'}], ids=str
)
def test_what_changes_a_vector_changes_the_fingerprint(tmp_path: Path, keys: dict[str, str]) -> None:
    one = spec_of(write_onnx_model(tmp_path, network()))
    other = spec_of(write_onnx_model(tmp_path, network(), **keys))
    renamed = spec_of(write_onnx_model(tmp_path, network(), name='"another"'))
    assert one.fingerprint == renamed.fingerprint != other.fingerprint


def test_whoever_gives_rights_is_told_the_file_of_a_bucket(tmp_path: Path) -> None:
    path = write_onnx_model(tmp_path, network(), weights='"s3://models/w.onnx"')
    assert [file.location for file in list_files(str(path))] == ["s3://models/w.onnx"]


REFUSED: dict[str, tuple[bytes, dict[str, str], str]] = {
    "rank of tokens": (
        network(answer="tokens"),
        {},
        r"output 'tokens' gives \[1, 16, 8\], and pooling = 'none' makes no \[N, D\] of it",
    ),
    "cls of places": (
        network(answer="places"),
        {"pooling": '"cls"'},
        r"gives \[1, 8, 4, 4\], and pooling = 'cls'",
    ),
    "no such output": (network(), {"output": '"vector"'}, "it has the outputs rows, and no 'vector'"),
    "no such input": (network(), {"input": '"image"'}, "it has the input 'pixels', and no 'image'"),
    "another side": (network(), {"crop": "20"}, r"does not take an input of \[1, 3, 20, 20\]"),
    "another layout": (network(), {"layout": '"nhwc"'}, r"does not take an input of \[1, 16, 16, 3\]"),
    "weights of NaN": (network(value=np.nan), {}, "gives values that are not finite for a grey image"),
    "too few numbers": (
        network(),
        {"embedding": "dim = 9"},
        r"dim = 9, and its network gives 8",
    ),
    "not made a unit": (network(), {"embedding": "normalize = false"}, "scores are cosines"),
    "no normalisation": (
        network(),
        {"mean": ""},
        "'mean' is missing; without it, say values",
    ),
    "normalised bytes": (network(), {"values": '"bytes"'}, 'mean has no meaning with values = "bytes"'),
    "bytes wanted": (
        network(takes_bytes=True),
        {},
        r"one input of tensor\(float\) is expected, found pixels",
    ),
    "not ONNX": (b"\x08\x08", {}, "damaged, not an ONNX file"),
    "another suffix": (network(), {"weights": '"w.pt"'}, "the name of a .onnx file is expected"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_is_not_as_described_is_refused_by_name(tmp_path: Path, case: str) -> None:
    body, keys, message = REFUSED[case]
    with pytest.raises(ModelError, match=message) as caught:
        spec_of(write_onnx_model(tmp_path, body, **keys))
    assert str(caught.value).startswith(("tiny: ", "model file "))
