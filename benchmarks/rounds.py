"""Contestants take turns: what disturbs the machine for a while disturbs all of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from benchmarks.figures import Figure

T = TypeVar("T")


def interleave(
    contestants: Mapping[str, Callable[[], T]],
    rounds: int,
    tell: Callable[[str], None],
    show: Callable[[T], str],
) -> dict[str, list[T]]:
    """Let each contestant run once a round. The order moves on by one each round: nobody is always first.

    Args:
        show: what to tell of one run, in a few words.

    Returns:
        What each measured in each round, by name.
    """
    names = list(contestants)
    measured: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            measured[name].append(contestants[name]())
            tell(f"  round {number + 1} of {rounds}: {name}: {show(measured[name][-1])}")
    return measured


def figure(name: str, unit: str, rounds: Sequence[float]) -> Figure:
    return Figure(name=name, unit=unit, rounds=tuple(_short(value) for value in rounds))


def ratio(name: str, above: Sequence[float], below: Sequence[float]) -> Figure:
    """`above` ÷ `below`, round by round: both were measured under the same conditions."""
    return figure(name, "ratio", [a / b for a, b in zip(above, below, strict=True)])


def absent(name: str, unit: str, why: str) -> Figure:
    return Figure(name=name, unit=unit, missing=why)


def _short(value: float) -> float:
    return float(f"{value:.6g}")  # more digits are noise, and make every re-run a large diff
