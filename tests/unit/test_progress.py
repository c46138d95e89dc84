"""How long running jobs have stood still."""

from workers.planning.progress import ProgressWatch


def test_no_job_no_time() -> None:
    assert ProgressWatch().standing_s({}, 100.0) == {}


def test_a_job_that_stands_still_grows_old_from_when_it_was_first_seen() -> None:
    watch = ProgressWatch()
    seen = [watch.standing_s({"a": (1, 64)}, now)["a"] for now in (100.0, 115.0, 130.0)]
    assert seen == [0.0, 15.0, 30.0]


def test_a_job_that_moves_is_as_young_as_its_last_move() -> None:
    watch = ProgressWatch()
    looks = [(1, 64), (1, 63), (1, 63), (2, 63)]
    seen = [watch.standing_s({"a": look}, 100.0 + 15 * n)["a"] for n, look in enumerate(looks)]
    assert seen == [0.0, 0.0, 15.0, 0.0]


def test_each_job_is_watched_until_it_has_ended() -> None:
    watch = ProgressWatch()
    assert watch.standing_s({"stuck": 1}, 100.0) == {"stuck": 0.0}
    assert watch.standing_s({"stuck": 1, "new": 1}, 115.0) == {"stuck": 15.0, "new": 0.0}
    assert watch.standing_s({"stuck": 1, "new": 2}, 130.0) == {"stuck": 30.0, "new": 0.0}
    assert watch.standing_s({"new": 2}, 145.0) == {"new": 15.0}
    assert watch.standing_s({"stuck": 1}, 160.0) == {"stuck": 0.0}  # it runs again


def test_a_job_that_is_forgotten_stands_still_from_the_next_look_on() -> None:
    watch = ProgressWatch()
    watch.standing_s({"a": 1, "b": 1}, 100.0)
    watch.forget("a")
    assert watch.standing_s({"a": 1, "b": 1}, 160.0) == {"a": 0.0, "b": 60.0}
