"""What held a job up, named from the seconds of its batches."""

import pytest

from pipeline.ingest.bottleneck import find_bottleneck

# Eight fetching threads beside two decoding ones, as on a machine of two cores.
THREADS = {"fetch_threads": 8, "decode_threads": 2}

INLINE = {
    "decode-bound": (
        # 10 s of fetching on eight threads are 1.25 s each; 8 s of decoding on two are 4 s each.
        {
            "lookup": 0.1,
            "fetch": 10.0,
            "decode": 8.0,
            "wait": 9.1,
            "device": 0.5,
            "write": 0.2,
            "report": 0.1,
        },
        "decode-bound: 91 % of worker time, add cores, "
        "or decode on workers of their own (PICTOR_PREPARATION=staged)",
    ),
    "fetch-bound": (
        {"lookup": 1.0, "fetch": 64.0, "decode": 2.0, "wait": 8.0, "device": 1.0},
        "fetch-bound: 80 % of worker time, raise PICTOR_FETCH_THREADS, "
        "or bring the workers nearer to the objects",
    ),
    "device-bound": (
        {"lookup": 0.5, "fetch": 90.0, "decode": 90.0, "wait": 1.0, "device": 7.5, "write": 1.0},
        "device-bound: 75 % of worker time, add embed workers or a faster device",
    ),
    "write-bound": (
        {"wait": 1.0, "device": 1.0, "write": 2.0},
        "write-bound: 50 % of worker time, the vector index takes rows slowly: give it more nodes, "
        "or raise PICTOR_BATCH_ITEMS",
    ),
    "nothing new, only looked up": (
        {"lookup": 3.0, "report": 1.0},
        "lookup-bound: 75 % of worker time, the vector index answers slowly: give it more memory or nodes",
    ),
    "a slow ledger": (
        {"lookup": 1.0, "report": 3.0},
        "report-bound: 75 % of worker time, the ledger answers slowly: "
        "give its database a faster disk, or raise PICTOR_BATCH_ITEMS",
    ),
}

STAGED = {
    "decode-bound": (
        {"fetch": 8.0, "decode": 19.0, "wait": 9.1, "load": 0.3, "device": 0.4, "write": 0.2},
        "decode-bound: 91 % of worker time, add prepare workers",
    ),
    "fetch-bound": (
        {"fetch": 80.0, "decode": 4.0, "wait": 8.0, "load": 1.0, "device": 1.0},
        "fetch-bound: 80 % of worker time, raise PICTOR_FETCH_THREADS, or add prepare workers",
    ),
    "device-bound": (
        {"fetch": 8.0, "decode": 4.0, "wait": 2.0, "load": 1.0, "device": 7.0},
        "device-bound: 70 % of worker time, add embed workers or a faster device",
    ),
    "a slow staging bucket": (
        {"wait": 1.0, "load": 3.0, "device": 1.0},
        "load-bound: 60 % of worker time, the staging bucket is slow: bring it nearer to the embed workers",
    ),
}


@pytest.mark.parametrize(("seconds", "line"), INLINE.values(), ids=INLINE)
def test_a_job_that_embed_workers_prepare_is_told_what_it_waits_for(
    seconds: dict[str, float], line: str
) -> None:
    assert str(find_bottleneck(seconds, **THREADS)) == line


@pytest.mark.parametrize(("seconds", "line"), STAGED.values(), ids=STAGED)
def test_a_staged_job_is_told_which_workers_to_add(seconds: dict[str, float], line: str) -> None:
    assert str(find_bottleneck(seconds, **THREADS)) == line


def test_what_runs_beside_a_batch_is_no_bottleneck_unless_somebody_waits_for_it() -> None:
    hidden = {"fetch": 1000.0, "decode": 1000.0, "wait": 0.0, "device": 1.0}
    found = find_bottleneck(hidden, **THREADS)
    assert found is not None
    assert (found.stage, found.share) == ("device", 1.0)


def test_the_slower_of_fetching_and_decoding_is_the_one_with_more_seconds_per_thread() -> None:
    seconds = {"fetch": 10.0, "decode": 10.0, "wait": 1.0}
    few_decode = find_bottleneck(seconds, fetch_threads=8, decode_threads=2)
    few_fetch = find_bottleneck(seconds, fetch_threads=2, decode_threads=8)
    assert few_decode is not None
    assert few_fetch is not None
    assert (few_decode.stage, few_fetch.stage) == ("decode", "fetch")


@pytest.mark.parametrize("seconds", [{}, {"fetch": 1.0, "decode": 1.0}, {"wait": 0.0, "device": 0.0}])
def test_nothing_is_said_of_a_job_that_nothing_was_measured_of(seconds: dict[str, float]) -> None:
    assert find_bottleneck(seconds, **THREADS) is None
