"""Models of two ONNX networks: texts against their own arithmetic, and what is refused."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.adapters.models.catalogue import list_files, load_embedder, load_spec, load_text_embedder
from pipeline.errors import ModelError
from pipeline.ports import TextEmbedder
from pipeline.types import Capability
from tests.hf_texts import forget_unknown_words
from tests.onnx_models import DIM, network, write_onnx_model
from tests.onnx_texts import text_network, write_two_towers

TEXTS = ["red shoes on snow", "a picture", "ein roter Schuh", "赤い 靴"]


def load(file: Path) -> TextEmbedder:
    return load_text_embedder(str(file), weights_dir=file.parent)


def own_rows(file: Path, texts: list[str]) -> NDArray[np.float32]:
    """One text at a time: nothing is filled up."""
    tokenizer = Tokenizer.from_file(str(file.parent / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(file.parent / "t.onnx"))
    rows = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        rows.append(session.run(["rows"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return np.stack(rows)


def cosines(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    products: NDArray[np.float32] = (rows * others).sum(axis=1) / np.linalg.norm(others, axis=1)
    return products


@pytest.mark.parametrize("padding", ["longest", "max_length"])
def test_texts_give_what_the_network_gives(tmp_path: Path, padding: str) -> None:
    file = write_two_towers(tmp_path, padding=f'"{padding}"')
    texts = load(file)
    rows = texts.embed_texts(TEXTS)
    assert rows.shape == (len(TEXTS), DIM)
    assert rows.dtype == np.float32
    assert cosines(rows, own_rows(file, TEXTS)).min() >= 0.999
    assert list(texts.count_tokens(["red shoes", "red " * 100])) == [3, 101]
    assert texts.max_tokens == 16


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_tokens_are_pooled_as_the_model_file_says(tmp_path: Path, pooling: str) -> None:
    file = write_two_towers(tmp_path, text_network(answer="tokens", with_mask=False), pooling=f'"{pooling}"')
    alone, together = load(file).embed_texts(["red"]), load(file).embed_texts(["red", "shoes on snow"])
    assert cosines(alone, together[:1]).min() >= 0.999, "what fills up does not count"
    assert cosines(together[:1], together[1:]).max() < 0.999


def test_both_towers_are_of_one_model(tmp_path: Path) -> None:
    file = write_two_towers(tmp_path)
    spec = load_spec(str(file), weights_dir=tmp_path)
    assert spec.capabilities == (Capability.IMAGES, Capability.TEXT)
    assert load(file).spec == spec
    assert load_embedder(str(file), weights_dir=tmp_path, device="cpu", group_items=1).spec == spec
    names = [Path(ref.location).name for ref in list_files(str(file))]
    assert names == ["w.onnx", "t.onnx", "tokenizer.json"]


def test_a_fingerprint_covers_both_towers_and_is_what_it_was_without_texts(tmp_path: Path) -> None:
    alone = write_onnx_model(tmp_path / "alone", network())
    both = write_two_towers(tmp_path / "both")
    other = write_two_towers(tmp_path / "other", text_network(with_mask=False))
    longer = write_two_towers(tmp_path / "longer", max_tokens="20")
    prints = {load_spec(str(file), weights_dir=tmp_path).fingerprint for file in (alone, both, other, longer)}
    assert len(prints) == 4
    assert load_spec(str(alone), weights_dir=tmp_path).capabilities == (Capability.IMAGES,)


def test_a_model_of_one_network_says_what_it_has(tmp_path: Path) -> None:
    file = write_onnx_model(tmp_path, network())
    with pytest.raises(ModelError, match=r"cannot be asked for text; it has: images"):
        load(file)


@pytest.mark.parametrize(
    ("body", "keys", "said"),
    [
        (text_network(dim=4), {}, "gives 4 numbers for a text, and 8 for an image"),
        (text_network(kind="float"), {}, "whole numbers input_ids"),
        (text_network(answer="tokens"), {}, "makes no \\[N, D\\] of it"),
        (text_network(), {"pooling": '"mean"'}, "makes no \\[N, D\\] of it"),
        (text_network(), {"output": '"other"'}, "it has the outputs rows, and no 'other'"),
        (text_network(), {"max_tokens": "1"}, "max_tokens"),
        (text_network(), {"max_tokens": ""}, "max_tokens' is missing"),
        (text_network(), {"tokenizer": '"vocab.txt"'}, "the name of a .json file is expected"),
        (text_network(), {"tokenizer": '"none.json"'}, "there is no such file"),
        (text_network(), {"pool": '"mean"'}, "pool"),
        (b"no network", {}, "not an ONNX file"),
    ],
)
def test_what_a_model_file_says_wrongly_is_refused(
    tmp_path: Path, body: bytes, keys: dict[str, str], said: str
) -> None:
    file = write_two_towers(tmp_path, body, **keys)
    with pytest.raises(ModelError, match=said):
        load(file)


@pytest.mark.parametrize("body", [b"", b"{", b'{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, body: bytes) -> None:
    file = write_two_towers(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(body)
    with pytest.raises(ModelError, match=r"is no tokenizer.json, or is damaged"):
        load(file)


def test_a_text_that_a_tokenizer_fails_on_is_said_in_our_words(tmp_path: Path) -> None:
    file = write_two_towers(tmp_path)
    forget_unknown_words(tmp_path / "tokenizer.json")
    texts = load(file)
    for ask in (texts.count_tokens, texts.embed_texts):
        with pytest.raises(ModelError, match=r"its tokenizer makes no tokens of 'zebra'; it is damaged"):
            ask(["zebra"])
