"""Seconds by stage."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pipeline.ingest.phase_clock import PhaseClock


def test_stages_are_measured_apart() -> None:
    clock = PhaseClock()
    with clock.measure("fetch"), clock.measure("decode"):
        pass
    assert sorted(clock.seconds()) == ["decode", "fetch"]
    assert all(seconds >= 0 for seconds in clock.seconds().values())


def test_time_counts_even_when_the_work_fails() -> None:
    clock = PhaseClock()
    with pytest.raises(KeyError), clock.measure("fetch"):
        raise KeyError
    assert "fetch" in clock.seconds()


def test_time_is_summed_over_threads() -> None:
    clock = PhaseClock()
    together = Barrier(4, timeout=10)

    def work(_number: int) -> None:
        with clock.measure("fetch"):
            together.wait()  # all four are inside at once

    with clock.measure("whole"), ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
        for _ in range(1000):
            with clock.measure("many"):
                pass
    # Each of four threads waited for the last one, so the sum is that of four.
    assert 0 < clock.seconds()["fetch"] <= 4 * clock.seconds()["whole"]
    assert clock.seconds()["many"] > 0


def test_what_was_read_does_not_change_later() -> None:
    clock = PhaseClock()
    with clock.measure("fetch"):
        pass
    before = clock.seconds()
    with clock.measure("decode"):
        pass
    assert "decode" not in before
