"""Towers of texts in Hugging Face's layout: each against the library's own forward pass, and their limits."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from pipeline.adapters.models.catalogue import load_embedder, load_spec, load_text_embedder
from pipeline.adapters.models.hf.texts import HfTexts
from pipeline.errors import ModelError
from pipeline.ports import TextEmbedder
from pipeline.types import Capability
from tests.hf_models import save_model
from tests.hf_texts import add_tokenizer, forget_unknown_words, word_tokenizer

MIN_COSINE = 0.999
KINDS = ("clip", "siglip")
TEXTS = ["red shoes on snow", "a picture", "ein roter Schuh", "赤い 靴", "words that nobody knows"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("towers")
    return {kind: add_tokenizer(save_model(kind, root / kind), kind) for kind in KINDS}


def load(address: Path) -> TextEmbedder:
    return load_text_embedder(str(address), weights_dir=Path("/nowhere"))


def own_features(folder: Path, kind: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """The library's own way from texts to points."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    padding: dict[str, Any] = {"padding": True}
    if kind == "siglip":
        padding = {"padding": "max_length", "max_length": 16}
    tokens = tokenizer(list(texts), return_tensors="pt", **padding)
    with torch.inference_mode():
        answer = model.get_text_features(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        )
    rows: NDArray[np.float32] = getattr(answer, "pooler_output", answer).numpy()
    return rows


def cosines(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    products: NDArray[np.float32] = (rows * others).sum(axis=1) / lengths
    return products


@pytest.mark.parametrize("kind", KINDS)
def test_texts_give_what_the_library_gives(folders: dict[str, Path], kind: str) -> None:
    rows = load(folders[kind]).embed_texts(TEXTS)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
    assert cosines(rows, own_features(folders[kind], kind, TEXTS)).min() >= MIN_COSINE
    assert len(np.unique(rows.round(4), axis=0)) == len(TEXTS), "texts differ"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_the_same_point_alone_and_in_company(folders: dict[str, Path], kind: str) -> None:
    texts = load(folders[kind])
    alone = np.concatenate([texts.embed_texts([text]) for text in TEXTS])
    assert cosines(alone, texts.embed_texts(TEXTS)).min() >= MIN_COSINE


@pytest.mark.parametrize("kind", KINDS)
def test_both_towers_are_of_one_model_and_one_space(folders: dict[str, Path], kind: str) -> None:
    texts = load(folders[kind])
    images = load_embedder(str(folders[kind]), weights_dir=folders[kind], device="cpu", group_items=1)
    assert texts.spec == images.spec
    assert texts.spec.capabilities == (Capability.IMAGES, Capability.TEXT)
    assert texts.embed_texts(["red"]).shape == (1, images.spec.dim)


def test_the_tower_of_images_is_let_go(folders: dict[str, Path]) -> None:
    texts = load(folders["clip"])
    assert isinstance(texts, HfTexts)
    kept = {name.partition(".")[0] for name, _ in texts._network.named_parameters()}
    assert kept == {"text_model", "text_projection", "logit_scale"}


def test_a_matryoshka_cut_is_made_of_texts_too(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "cut.toml"
    file.write_text(
        f'name = "cut"\narchitecture = "hf"\nweights = "{folders["clip"]}"\n[embedding]\ndim = 8\n'
    )
    rows = load(file).embed_texts(TEXTS)
    assert rows.shape == (len(TEXTS), 8)
    assert cosines(rows, own_features(folders["clip"], "clip", TEXTS)[:, :8]).min() >= MIN_COSINE


@pytest.mark.parametrize(("kind", "added"), [("clip", 2), ("siglip", 1)])
def test_tokens_are_counted_whole(folders: dict[str, Path], kind: str, added: int) -> None:
    texts = load(folders[kind])
    assert texts.max_tokens == 16
    assert list(texts.count_tokens(["red shoes", "red " * 100])) == [2 + added, 100 + added]


def test_threads_share_one_tokenizer(folders: dict[str, Path]) -> None:
    texts, failed = load(folders["siglip"]), list[Exception]()

    def work() -> None:
        try:
            for _ in range(20):
                texts.count_tokens(TEXTS)
                texts.embed_texts(TEXTS[:1])
        except Exception as err:  # noqa: BLE001 - whatever it is, the test tells
            failed.append(err)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


# What is refused


def test_a_folder_without_a_tokenizer_has_images_alone(tmp_path: Path) -> None:
    folder = save_model("clip", tmp_path / "clip")
    assert load_spec(str(folder), weights_dir=folder).capabilities == (Capability.IMAGES,)
    with pytest.raises(ModelError, match=r"cannot be asked for text; it has: images"):
        load(folder)


@pytest.mark.parametrize("address", ["builtin", "vit"])
def test_a_model_of_images_alone_says_what_it_has(tmp_path: Path, address: str) -> None:
    folder = Path("builtin") if address == "builtin" else save_model("vit", tmp_path / "vit")
    with pytest.raises(ModelError, match=r"cannot be asked for text; it has: images"):
        load(folder)


def test_a_tokenizer_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = save_model("clip", tmp_path / "clip")
    tokenizer = word_tokenizer(start=True, max_tokens=16)
    tokenizer.add_tokens([f"word{number}" for number in range(100)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"its tokenizer has 119 words, and its network knows 99"):
        load(folder)


def test_a_word_that_the_network_does_not_know_is_said(tmp_path: Path) -> None:
    """The tokenizer has no more words than the network, and one of them has a number of its own."""
    folder = add_tokenizer(save_model("clip", tmp_path / "clip"), "clip")
    fields = json.loads((folder / "tokenizer.json").read_text())
    fields["model"]["vocab"]["zebra"] = 500
    (folder / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=r"its tokenizer gives token 500, and its network knows 0 to 98"):
        load(folder).embed_texts(["red", "zebra"])


def test_a_tokenizer_with_another_end_of_texts_is_refused(tmp_path: Path) -> None:
    """CLIP reads the token at the end. Where it finds none, all texts would be one point."""
    folder = add_tokenizer(save_model("clip", tmp_path / "clip"), "clip")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 98
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"two texts give the same numbers"):
        load(folder)


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path: Path) -> None:
    folder = save_model("clip", tmp_path / "clip")
    tokenizer = word_tokenizer(start=True, max_tokens=16)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"its tokenizer has no padding token"):
        load(folder)


@pytest.mark.parametrize("body", [b"", b"{", b'{"version": "1.0"}'], ids=["empty", "cut", "another file"])
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, body: bytes) -> None:
    folder = add_tokenizer(save_model("clip", tmp_path / "clip"), "clip")
    (folder / "tokenizer.json").write_bytes(body)
    with pytest.raises(ModelError, match=r"transformers cannot read the tokenizer in"):
        load(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_a_tokenizer_fails_on_is_said_in_our_words(tmp_path: Path, kind: str) -> None:
    folder = add_tokenizer(save_model(kind, tmp_path / kind), kind)
    forget_unknown_words(folder / "tokenizer.json")
    texts = load(folder)
    for ask in (texts.count_tokens, texts.embed_texts):
        with pytest.raises(ModelError, match=f"{kind}: its tokenizer makes no tokens of 'zebra'; it is dam"):
            ask(["zebra"])
        with pytest.raises(ModelError, match=r"no tokens of one of 3 texts, the first of which is 'red'; it"):
            ask(["red", "zebra", "red"])


def test_a_tokenizer_that_fails_on_any_text_is_refused_as_it_is_loaded(tmp_path: Path) -> None:
    """One that makes more tokens of a few words than the network takes, as of pieces of another language."""
    folder = save_model("siglip", tmp_path / "siglip")
    word_tokenizer(start=False, max_tokens=4).save_pretrained(folder)
    with pytest.raises(
        ModelError, match=r"its tokenizer makes no tokens of one of 2 texts, the first of which"
    ):
        load(folder)


def test_code_of_a_folder_is_never_run(tmp_path: Path) -> None:
    folder = add_tokenizer(save_model("clip", tmp_path / "clip"), "clip")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", null]}}'
    )
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError):
        load(folder)
    assert not (tmp_path / "ran").exists()
