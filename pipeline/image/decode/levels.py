"""The meaning of an image's numbers, where Pillow hands them over as they are stored."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """The default is that of Pillow's modes: 0 is black, and the highest number that fits is white."""

    white_is_zero: bool = False
    bits_of_16: int = 16  # how many bits are used in a mode of 16
    # The numpy type of numbers without an agreed range: the smallest becomes black, the largest white.
    stretched: Literal["i1", "i4", "u4", "f4"] | None = None


AS_DECODED = Levels()
