"""Faces by the command line: from a folder to the hit, and with real networks on real portraits."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.models.catalogue import load_embedder, load_finder, load_spec
from pipeline.image.decode import decode_image
from pipeline.ports import ImageLimits
from tests.cli import Pictor
from tests.face_models import DrawnFace, digest_of, picture, write_face_model

POLICY = {"purposes": [{"code": "test", "text": "A test"}], "roles": ["local"], "faces": True}
ANNA, BERTA = DrawnFace(person=1, column=2, row=3), DrawnFace(person=2, column=20, row=3)
PERSONS = 40  # with two portraits each


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY), encoding="utf-8")
    return path


def test_a_face_is_found_from_a_folder_to_the_hit(pictor: Pictor, tmp_path: Path, policy: Path) -> None:
    model = write_face_model(tmp_path / "model")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, faces in (("both.png", [ANNA, BERTA]), ("none.png", []), ("berta.png", [BERTA])):
        (folder / name).write_bytes(picture(faces))
    ingest = ("ingest", folder, "--collection", "persons", "--model", model, "--json")
    refused = pictor(*ingest, code=None)
    assert refused.code != 0
    assert "collection 'persons' is for faces (model 'tiny-faces') and has no policy" in refused.err
    pictor("policies", "set", "persons", policy)
    counts = pictor(*ingest).last
    assert (counts["scanned"], counts["indexed"], counts["failed"]) == (3, 3, 0)
    probe = tmp_path / "probe.png"
    probe.write_bytes(picture([DrawnFace(person=1, column=5, row=1)]))
    search = ("search", probe, "--collection", "persons", "-k", "1", "--json")
    [answer] = pictor(*search, "--purpose", "test").lines
    [hit] = answer["hits"]
    assert (hit["key"], hit["metadata"]["face_box"]) == ("both.png", f"{ANNA.left},{ANNA.top},64,64")
    assert hit["score"] > 0.999
    [found] = pictor("faces", "detect", probe, "--collection", "persons", "--json").lines
    assert [face["box"]["left"] for face in found["faces"]] == [44]
    compared = pictor(
        "faces", "compare", probe, folder / "both.png", *search[2:4], "--purpose", "test", "--json"
    )
    assert compared.last["matches"][0]["box"]["left"] == ANNA.left


@pytest.mark.large_sets
def test_real_networks_tell_the_persons_of_portraits_apart(tmp_path: Path, large_data: Path) -> None:
    portraits = large_data / "faces"
    with (portraits / "faces.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: 2 * PERSONS]
    model = _real_model(large_data / "weights" / "face", tmp_path)
    finder = load_finder(load_spec(str(model), weights_dir=tmp_path), weights_dir=tmp_path)
    embedder = load_embedder(str(model), weights_dir=tmp_path, device="cpu", group_items=8)
    crops = []
    for row in rows:
        body = (portraits / row["path"]).read_bytes()
        image = decode_image(body, limits=ImageLimits(), target_px=finder.min_side_px)
        [view] = finder.find_views(image.rgb)
        crops.append(view.pixels)
    vectors = embedder.embed_images(np.stack(crops))
    scores, who = vectors @ vectors.T, np.array([row["identity"] for row in rows])
    same = who[:, None] == who
    np.fill_diagonal(scores, -2)
    rank_1 = same[np.arange(len(rows)), scores.argmax(axis=1)].mean()
    strangers, own = np.sort(scores[~same])[::-1], scores[same & (scores > -2)]
    true_rate = (own > strangers[len(strangers) // 1000]).mean()
    print("rank-1", rank_1, "TAR at FAR 1e-3", true_rate)
    assert rank_1 >= 0.99
    assert true_rate >= 0.98


def _real_model(weights: Path, folder: Path) -> Path:
    detector, embedder = weights / "yunet_n_dynamic.onnx", weights / "mobilefacenet_foamliu.onnx"
    path = folder / "real.toml"
    path.write_text(
        f"""
name = "yunet-mobilefacenet"
[finder]
detector = "yunet"
weights = "{detector}"
sha256 = "{digest_of(detector)}"
[aligner]
[embedder]
weights = "{embedder}"
sha256 = "{digest_of(embedder)}"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
dim = 128
""",
        encoding="utf-8",
    )
    return path
