"""A network of torch that was read, and how it is handed on to whoever computes with it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.types import ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """`module` maps normalised [N, 3, S, S] to [N, dim].

    `precision` is what the model must be computed in, whatever was asked for. Empty: as it was asked for.
    """

    spec: ModelSpec
    module: "nn.Module"
    precision: str = ""


class Handover:
    """Networks that were read for their specs, until they are loaded: files are read once, and not again.

    Each is given out once, and then no more kept here. Who only needs specs keeps none, with `is_open` false.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        self._is_open = is_open
        self._opened: dict[str, OpenedModel] = {}

    def put(self, opened: OpenedModel) -> None:
        if self._is_open:
            self._opened[opened.spec.address] = opened

    def take(self, address: str) -> OpenedModel | None:
        """Args: `address` as a spec has it."""
        return self._opened.pop(address, None)


CLOSED = Handover(is_open=False)
