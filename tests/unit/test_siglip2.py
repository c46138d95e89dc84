"""SigLIP 2 of a fixed size: the network of SigLIP with a tokenizer of Gemma's kind, by its own processor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModel, AutoProcessor, Siglip2Tokenizer, SiglipImageProcessor, SiglipProcessor

from pipeline.adapters.models.catalogue import load_embedder, load_spec, load_text_embedder
from pipeline.adapters.models.hf.folder import TOKENIZERS
from pipeline.adapters.models.probe_pictures import probe_pictures
from pipeline.errors import ConfigError
from pipeline.image.preprocess import to_model_input
from pipeline.types import Capability
from tests.hf_models import SIDE_PX, save_model
from tests.hf_texts import WORDS

MIN_COSINE, MAX_TOKENS = 0.999, 16
TEXTS = ["red shoes on snow", "A PICTURE", "ein roter Schuh", "赤い 靴", "snow"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = save_model("siglip", tmp_path_factory.mktemp("siglip2"))
    size = {"height": SIDE_PX, "width": SIDE_PX}
    SiglipProcessor(SiglipImageProcessor(size=size), gemma_tokenizer()).save_pretrained(path)
    settings = SiglipImageProcessor(size=size).to_dict()
    (path / "preprocessor_config.json").write_text(json.dumps(settings))
    return path


def gemma_tokenizer() -> Any:
    """Pieces of words, learned from some words here. It lowers the case and adds no token of its own."""
    learned = Tokenizer(models.BPE(unk_token="<unk>"))
    learned.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    learned.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=99, special_tokens=special, show_progress=False)
    learned.train_from_iterator([f"{word} " for word in WORDS] * 3, trainer)
    model = json.loads(learned.to_str())["model"]
    return Siglip2Tokenizer(
        vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], model_max_length=MAX_TOKENS
    )


def test_texts_and_pictures_give_what_the_library_s_own_processor_gives(folder: Path) -> None:
    processor, network = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    pictures = probe_pictures()
    given = processor(
        text=TEXTS,
        images=[Image.fromarray(rgb) for rgb in pictures],
        padding="max_length",
        max_length=MAX_TOKENS,
        return_tensors="pt",
    )
    with torch.inference_mode():
        answer = network(**given)
    texts = load_text_embedder(str(folder), weights_dir=folder)
    images = load_embedder(str(folder), weights_dir=folder, device="cpu", group_items=4)
    rows = images.embed_images(np.stack([to_model_input(rgb, images.spec.preprocessing) for rgb in pictures]))
    assert images.spec.capabilities == (Capability.IMAGES, Capability.TEXT)
    assert (rows * answer.image_embeds.numpy()).sum(1).min() >= MIN_COSINE
    assert (texts.embed_texts(TEXTS) * answer.text_embeds.numpy()).sum(1).min() >= MIN_COSINE
    assert max(texts.count_tokens(TEXTS)) <= texts.max_tokens == MAX_TOKENS


def test_case_does_not_matter(folder: Path) -> None:
    rows = load_text_embedder(str(folder), weights_dir=folder).embed_texts(["Red SHOES", "red shoes"])
    assert np.array_equal(*rows)


def test_pieces_without_their_library_are_refused_by_its_name(tmp_path: Path) -> None:
    """A `spiece.model` alone is read by sentencepiece, which Pictor does not bring."""
    path = save_model("siglip", tmp_path / "siglip")
    (path / "spiece.model").write_bytes(b"pieces")
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "SiglipTokenizer"}')
    assert "spiece.model" in TOKENIZERS
    assert Capability.TEXT in load_spec(str(path), weights_dir=path).capabilities
    with pytest.raises(ConfigError, match=r"spiece\.model needs sentencepiece; .*or put the tokenizer\.json"):
        load_text_embedder(str(path), weights_dir=path)
