"""What is asked for each request is remembered for a while, and no longer."""

from collections.abc import Callable

import pytest

from pipeline.service.remembered import Remembered


class World:
    """A clock, and a look that counts."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.looks: list[str] = []
        self.memory = Remembered[str, int | None](age_s=1.0, most=2, clock_s=lambda: self.now_s)

    def find(self, name: str, value: int | None = 1, *, takes_s: float = 0.0) -> int | None:
        def look() -> int | None:
            self.looks.append(name)
            self.now_s += takes_s
            return value

        return self.memory.find(name, look, keeps=lambda found: found is not None)


def test_an_answer_is_given_again_until_it_is_too_old() -> None:
    world = World()
    assert [world.find("a", 1), world.find("a", 2)] == [1, 1]
    world.now_s = 1.0
    assert not world.memory.has("a")
    assert world.find("a", 2) == 2
    assert world.looks == ["a", "a"]


def test_an_answer_is_as_old_as_the_question() -> None:
    """What changes during a slow look is seen in time, too."""
    world = World()
    world.find("a", takes_s=0.9)
    world.now_s += 0.1
    assert not world.memory.has("a")


def test_what_is_not_to_be_kept_is_looked_up_each_time() -> None:
    world = World()
    assert [world.find("a", None), world.find("a", None)] == [None, None]
    assert world.looks == ["a", "a"]


@pytest.mark.parametrize("lose", [lambda world: world.memory.forget("a"), lambda world: world.find("c")])
def test_an_answer_is_forgotten_on_demand_and_with_all_others_at_the_bound(
    lose: Callable[[World], object],
) -> None:
    world = World()
    world.find("a"), world.find("b")
    lose(world)
    assert not world.memory.has("a")
