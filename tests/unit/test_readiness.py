"""Which parts are ready, asked by probes that never wait long."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.api.readiness import Part, states_of
from pipeline.errors import TransientError

LIMIT_S = 60.0


class Hung:
    """A look that lasts until the test lets it go."""

    def __init__(self) -> None:
        self.looks = 0
        self.let_go = threading.Event()

    def __call__(self) -> None:
        self.looks += 1
        assert self.let_go.wait(LIMIT_S)


@pytest.fixture
def hung() -> Iterator[Hung]:
    hung = Hung()
    yield hung
    hung.let_go.set()


def ask(*parts: Part, limit_s: float = LIMIT_S) -> dict[str, str]:
    return dict(asyncio.run(states_of(parts, limit_s=limit_s)))


def away() -> None:
    raise TransientError("the ledger is away")


def broken() -> None:
    raise KeyError("secret")


def test_each_part_names_its_own_fault() -> None:
    parts = [Part(name="index", look=list), Part(name="ledger", look=away), Part(name="broker", look=broken)]
    assert ask(*parts) == {
        "index": "ready",
        "ledger": "the ledger is away",
        "broker": "an internal error; the log of the service has it",
    }


def test_a_part_that_hangs_holds_up_no_probe_and_no_other_part(hung: Hung) -> None:
    parts = [Part(name="index", look=hung), Part(name="ledger", look=list)]
    deadline = time.monotonic() + LIMIT_S
    while (states := ask(*parts, limit_s=0.05))["ledger"] != "ready":  # 50 ms are little on a busy machine
        assert time.monotonic() < deadline, states
    assert states["index"] == "no answer within 0.05 s"
    assert hung.looks == 1, "probes share one look"


def test_a_part_that_answers_again_is_ready(hung: Hung) -> None:
    part = Part(name="index", look=hung)
    ask(part, limit_s=0.0)
    hung.let_go.set()
    assert ask(part) == {"index": "ready"}


def test_a_probe_that_is_given_up_spoils_no_later_one(hung: Hung) -> None:
    part = Part(name="index", look=hung)

    async def give_up() -> None:
        probe = asyncio.ensure_future(states_of([part], limit_s=LIMIT_S))
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe

    asyncio.run(give_up())
    hung.let_go.set()
    assert ask(part) == {"index": "ready"}
