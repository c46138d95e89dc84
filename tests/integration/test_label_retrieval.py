"""Retrieval quality on labelled photographs, the whole way: ingest, then search by stored id."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.adapters.memory_store import MemoryStore
from pipeline.adapters.milvus_index import MilvusIndex
from pipeline.ports import Embedder, Limits
from pipeline.search.query import Stored
from pipeline.service.access import local_caller
from pipeline.service.search import SearchPorts, SearchRequest, search_images
from pipeline.types import image_id_of
from tests.cli import Pictor

MODEL_FILES = {
    "mobilenet_v2": """
        architecture = "torchvision/mobilenet_v2"
        weights = "{weights}/mobilenet_v2_tf_quant_imagenet.safetensors"
        resize = 257
        crop = 225
    """,
    "squeezenet1_0": """
        architecture = "torchvision/squeezenet1_0"
        weights = "{weights}/squeezenet1_0_deepcompressed_imagenet.safetensors"
        resize = 256
        crop = 224
    """,
}
# Measured with the reference transforms and a brute-force search outside this project.
BASELINES = {"mobilenet_v2": (0.783, 0.932, 0.438), "squeezenet1_0": (0.775, 0.921, 0.419)}
TOLERANCE = 0.005  # more means a fault in decoding, preprocessing or the model


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    recall_at_1: float
    recall_at_5: float
    mean_average_precision: float


@pytest.mark.slow
@pytest.mark.parametrize("architecture", BASELINES)
def test_groceries_are_found_as_well_as_with_the_reference_transforms(
    test_data: Path, pictor: Pictor, tmp_path: Path, architecture: str
) -> None:
    model = tmp_path / "model.toml"
    lines = MODEL_FILES[architecture].format(weights=test_data / "weights")
    model.write_text(f'name = "{architecture}"\n' + lines.replace("        ", ""))
    found = measure(pictor, test_data / "labelled", "grocery", model=str(model))
    print(architecture, found)
    recall_at_1, recall_at_5, mean_average_precision = BASELINES[architecture]
    assert found.recall_at_1 == pytest.approx(recall_at_1, abs=TOLERANCE)
    assert found.recall_at_5 == pytest.approx(recall_at_5, abs=TOLERANCE)
    assert found.mean_average_precision == pytest.approx(mean_average_precision, abs=TOLERANCE)


def test_the_builtin_model_finds_edited_copies(test_data: Path, pictor: Pictor) -> None:
    found = measure(pictor, test_data / "labelled", "neardup", model="builtin")
    print("builtin", found)
    assert found.recall_at_1 >= 0.97
    assert found.recall_at_5 >= 0.98
    assert found.mean_average_precision >= 0.97


def measure(pictor: Pictor, folder: Path, name: str, *, model: str) -> Retrieval:
    """Leave one out: each image asks for the others of its label; labels of one image only answer."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        label_of = {
            row["path"].removeprefix(f"{name}/"): row["label"]
            for row in csv.DictReader(file)
            if row["set"] == name
        }
    source = (folder / name).resolve()
    counts = pictor("ingest", source, "--model", model, "--json").last
    assert counts["indexed"] == counts["scanned"] == len(label_of)
    keys = sorted(label_of)
    nearest, vectors = search_all(pictor, str(source), keys)
    scores = vectors @ vectors.T
    judged = [judge(label_of, key, nearest[key], scores[n], keys) for n, key in enumerate(keys)]
    recall_at_1, recall_at_5, precision = zip(*(marks for marks in judged if marks), strict=True)
    return Retrieval(
        recall_at_1=float(np.mean(recall_at_1)),
        recall_at_5=float(np.mean(recall_at_5)),
        mean_average_precision=float(np.mean(precision)),
    )


def search_all(
    pictor: Pictor, bucket: str, keys: list[str]
) -> tuple[dict[str, list[str]], NDArray[np.float32]]:
    """The five nearest others of every key, by search; and the stored vectors, in the order of `keys`."""
    ids = [image_id_of(bucket, key) for key in keys]
    with MilvusIndex(str(pictor.home / "milvus.db")) as index:
        ports = SearchPorts(store=MemoryStore(), index=index, models=NoModel())
        queries = [Stored(text=key, id=id_) for key, id_ in zip(keys, ids, strict=True)]
        request = SearchRequest(collection="images", k=6)
        answers = list(search_images(queries, request, ports, Limits(), local_caller()))
        vectors = np.stack([row.vector for row in index.get_rows("images", ids)])
    others = {
        answer.query: [hit.key for hit in answer.hits if hit.key != answer.query][:5] for answer in answers
    }
    return others, vectors


class NoModel:
    def answering(self, collection: str) -> Embedder:
        raise AssertionError("a search by stored id asked for the model")


def judge(
    label_of: dict[str, str], key: str, nearest: list[str], scores: NDArray[np.float32], keys: list[str]
) -> tuple[bool, bool, float] | None:
    """Recall by what the search found, precision over the whole ranking of the stored vectors."""
    ranking = [keys[place] for place in np.argsort(-scores, kind="stable") if keys[place] != key]
    hits = np.array([label_of[other] == label_of[key] for other in ranking])
    if not hits.any():
        return None
    ranks = np.flatnonzero(hits) + 1
    found = [label_of[other] == label_of[key] for other in nearest]
    return found[0], any(found), float(np.mean(np.arange(1, len(ranks) + 1) / ranks))
