"""What is said when a tokenizer fails. Each of them, and its library, fails in its own way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.errors import ModelError
from pipeline.names import shown


@contextmanager
def tokenizing(texts: Sequence[str], model: str) -> Iterator[None]:
    """Whoever calls a tokenizer does so within this.

    Raises:
        ModelError: whatever the tokenizer raised.
    """
    try:
        yield
    except Exception as err:
        first = shown(texts[0])
        which = first if len(texts) == 1 else f"one of {len(texts)} texts, the first of which is {first}"
        raise ModelError(
            f"{model}: its tokenizer makes no tokens of {which}; it is damaged, or is not that of its network"
        ) from err
