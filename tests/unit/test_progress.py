"""When running jobs last moved."""

from workers.planning.progress import ProgressWatch


def test_no_job_no_time() -> None:
    assert ProgressWatch().oldest_progress_s({}, 100.0) == 0.0


def test_a_job_that_stands_still_grows_old_from_when_it_was_first_seen() -> None:
    watch = ProgressWatch()
    seen = [watch.oldest_progress_s({"a": (1, 64)}, now) for now in (100.0, 115.0, 130.0)]
    assert seen == [100.0, 100.0, 100.0]


def test_a_job_that_moves_is_as_young_as_its_last_move() -> None:
    watch = ProgressWatch()
    looks = [(1, 64), (1, 63), (1, 63), (2, 63)]
    seen = [watch.oldest_progress_s({"a": look}, 100.0 + 15 * n) for n, look in enumerate(looks)]
    assert seen == [100.0, 115.0, 115.0, 145.0]


def test_the_job_that_stood_still_for_longest_counts_until_it_has_ended() -> None:
    watch = ProgressWatch()
    assert watch.oldest_progress_s({"stuck": 1}, 100.0) == 100.0
    assert watch.oldest_progress_s({"stuck": 1, "new": 1}, 115.0) == 100.0
    assert watch.oldest_progress_s({"stuck": 1, "new": 2}, 130.0) == 100.0
    assert watch.oldest_progress_s({"new": 2}, 145.0) == 130.0
    assert watch.oldest_progress_s({"stuck": 1}, 160.0) == 160.0  # it runs again
