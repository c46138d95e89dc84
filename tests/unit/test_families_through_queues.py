"""Models of each family through the queues, inline and staged, against the library's own forward pass."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from transformers import AutoImageProcessor, AutoModel

from pipeline.adapters.models.catalogue import load_embedder
from pipeline.adapters.models.probe_pictures import probe_pictures
from pipeline.ports import Deps
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, CollectionRef, JobState, Pixels
from tests.hf_models import save_model
from tests.onnx_models import SIDE_PX, network, write_onnx_model
from tests.unit.fakes import BUCKET, COLLECTION
from tests.unit.memory_broker import MemoryBroker
from tests.unit.test_face_workers import ONE_THREAD, STAGING, Workers
from tests.unit.test_timm_models import save_folder
from workers.process.context import Context

Rows = NDArray[np.float32]
KEYS = [f"{number}.png" for number in range(len(probe_pictures()))]


def hf(kind: str) -> Callable[[Path, Sequence[Pixels]], tuple[Path, Rows]]:
    def make(folder: Path, pictures: Sequence[Pixels]) -> tuple[Path, Rows]:
        save_model(kind, folder / "model")
        pixels: Any = AutoImageProcessor.from_pretrained(folder / "model")(
            images=pictures, return_tensors="pt"
        )
        model = AutoModel.from_pretrained(folder / "model").eval()
        with torch.inference_mode():
            answer = (model.get_image_features if hasattr(model, "get_image_features") else model)(**pixels)
        return folder / "model", answer.pooler_output.flatten(1).numpy()

    return make


def of_timm(folder: Path, pictures: Sequence[Pixels]) -> tuple[Path, Rows]:
    torch.manual_seed(0)
    model: Any = timm.create_model("test_vit").eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.fromarray(rgb)) for rgb in pictures])
        rows = model.forward_head(model.forward_features(pixels), pre_logits=True).numpy()
    return save_folder(model, folder / "model"), rows


def of_onnx(folder: Path, pictures: Sequence[Pixels]) -> tuple[Path, Rows]:
    side = (SIDE_PX, SIDE_PX)
    squares = [Image.fromarray(rgb).resize(side, Image.Resampling.BILINEAR) for rgb in pictures]
    pixels = np.stack([np.asarray(square, np.float32).transpose(2, 0, 1) for square in squares]) / 255
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    (rows,) = onnxruntime.InferenceSession(network()).run(["rows"], {"pixels": (pixels - mean) / std})
    return write_onnx_model(folder, network(), fit='"stretch"'), rows


FAMILIES = {
    "clip": hf("clip"),
    "siglip": hf("siglip"),
    "dinov2": hf("dinov2"),
    "vit": hf("vit"),
    "convnext": hf("convnext"),
    "timm": of_timm,
    "onnx": of_onnx,
}


@pytest.mark.parametrize("staged", [False, True], ids=["inline", "staged"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_rows_of_a_job_are_those_of_the_library(
    deps: Deps, context: Context, broker: MemoryBroker, tmp_path: Path, family: str, staged: bool
) -> None:
    address, own = FAMILIES[family](tmp_path, probe_pictures())
    embedder = load_embedder(str(address), weights_dir=tmp_path, device="cpu", group_items=4)
    store, index = MemoryStore(BUCKET, STAGING), MemoryIndex()
    index.create_collection(COLLECTION, embedder.spec)
    for key, rgb in zip(KEYS, probe_pictures(), strict=True):
        body = io.BytesIO()
        Image.fromarray(rgb).save(body, "PNG")
        store.put(BUCKET, key, body.getvalue())
    ports = replace(
        context.deps,
        store=store,
        index=index,
        embedder=embedder,
        concurrency=ONE_THREAD,
        driver=WORKERS,
        staging_bucket=STAGING if staged else "",
    )
    workers = Workers(replace(context, deps=ports), broker, embedder, staged=staged)
    assert workers.ingest().state is JobState.COMPLETED

    target = CollectionRef(name=COLLECTION, fingerprint=embedder.spec.fingerprint)
    held = index.get_images(target, [image.ref.image_id for image in index.list_images(target)])
    rows = {found[0].ref.key: found[0].vector for found in held.values()}
    assert sorted(rows) == KEYS
    for key, wanted in zip(KEYS, own, strict=True):
        assert float(rows[key] @ wanted / np.linalg.norm(wanted)) >= 0.999
