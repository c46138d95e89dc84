"""`pictor models compare`: whether two models give the same vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.onnx_models import network, write_onnx_model
from tests.unit.commands import Output, pictor


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path / "home"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def compare(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, first: Path, second: Path, images: Path
) -> dict[str, Any]:
    arguments = (str(first), str(second), "--images", str(images), "--json")
    assert pictor(monkeypatch, "models", "compare", *arguments) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_one_network_in_two_forms_agrees_and_stays_two_models(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    one = write_onnx_model(tmp_path / "one", network())
    other = write_onnx_model(tmp_path / "other", network(layout="nhwc"), layout='"nhwc"')
    found = compare(monkeypatch, capsys, one, other, images)
    assert (found["images"], found["is_same"]) == (3, True)
    assert 0.99999 < found["least"] <= found["mean"] < 1.00001
    assert len(set(found["fingerprints"])) == 2


def test_the_least_agreement_has_its_image_named(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    one = write_onnx_model(tmp_path / "one", network())
    other = write_onnx_model(tmp_path / "other", network(), channels='"bgr"')
    found = compare(monkeypatch, capsys, one, other, images)
    assert found["is_same"] is False
    assert found["least"] < found["mean"]
    assert found["worst"] in {"0.png", "1.png", "2.png"}


def test_without_images_pictures_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    model = str(write_onnx_model(tmp_path, network()))
    assert pictor(monkeypatch, "models", "compare", model, model) == 0
    shown = capsys.readouterr()
    assert "24" in shown.out
    assert "They are one model" in shown.err


def test_vectors_of_two_lengths_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    model = str(write_onnx_model(tmp_path, network()))
    assert pictor(monkeypatch, "models", "compare", "builtin", model) == 2
    assert "builtin gives 919 numbers and" in capsys.readouterr().err
