"""Tokenizers for tiny networks, made of words here: no file of a hub is needed."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = "a picture of shoe red green blue shoes on snow ein roter schuh 赤い 靴".split()
START, END, PAD, UNKNOWN = "<start>", "<end>", "<pad>", "<unk>"


def word_tokenizer(*, start: bool, max_tokens: int) -> Any:
    """One token a word. Args: `start` also puts one before the text, as CLIP has it."""
    vocabulary = {word: number for number, word in enumerate([PAD, UNKNOWN, START, END, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}" if start else f"$A {END}",
        special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        model_max_length=max_tokens,
    )


def add_tokenizer(folder: Path, kind: str) -> Path:
    """Args: `kind` is "clip" or "siglip", whose network lies in the folder."""
    word_tokenizer(start=kind == "clip", max_tokens=16).save_pretrained(folder)
    return folder


def forget_unknown_words(tokenizer: Path) -> None:
    """Take from a tokenizer.json what stands for words that are not in it. The library then fails on them."""
    fields = json.loads(tokenizer.read_text())
    del fields["model"]["vocab"][UNKNOWN]
    tokenizer.write_text(json.dumps(fields))
