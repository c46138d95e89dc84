"""Threads by the share of a container: the worst images of all threads fit into its memory."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.capacity import (
    FINDER_BYTES,
    LOOK_BYTES,
    MODEL_BYTES,
    MOST_FETCH_THREADS,
    Load,
    Threads,
    fit_threads,
    needed_bytes,
)
from pipeline.cgroup import Share, read_share
from pipeline.ports import ImageLimits
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.settings import Settings
from pipeline.types import Capability, CollectionInfo, ModelBeside, ModelSpec
from pipeline.wiring import concurrency_of, load_of_job, load_of_searches
from tests.unit.fakes import HERE, SPEC, identity_of, request_of
from workers.process.context import load_of

GIB = 2**30
LIMITS = ImageLimits()
FACES = replace(SPEC, address="faces.toml", capabilities=(Capability.IMAGES, Capability.VIEWS))
LEAST = Threads(fetch=1, decode=1)


def fit(share: Share, load: Load | None = None, **settings: int) -> Threads:
    return fit_threads(Settings.model_validate(settings), LIMITS, share, load or Load())


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_of_1_gib_on_a_host_of_32_cores_decodes_one_image_at_a_time(
    version: int, tmp_path: Path
) -> None:
    mount = tmp_path / "cgroup"
    file = mount / ("memory.max" if version == 2 else "memory/memory.limit_in_bytes")
    file.parent.mkdir(parents=True)
    file.write_text(str(GIB))
    membership = mount / "membership"
    membership.write_text("0::/\n" if version == 2 else "4:memory:/docker/f0\n")
    host = Share(cores=32, memory_bytes=256 * GIB)
    share = read_share(mount=mount, membership=membership, machine=host)
    threads = fit(share)
    assert threads == LEAST
    assert needed_bytes(LIMITS, threads, Load()) <= GIB
    assert needed_bytes(LIMITS, Threads(fetch=8, decode=32), Load()) > 7 * GIB  # one for each core


@pytest.mark.parametrize(
    ("gib", "cores", "load", "expected"),
    [
        (256, 32, Load(), Threads(fetch=8, decode=8)),
        (256, 2, Load(), Threads(fetch=8, decode=2)),
        (256, 1, Load(batches=2), Threads(fetch=8, decode=1)),
        (4, 32, Load(), Threads(fetch=8, decode=8)),
        (2, 32, Load(), Threads(fetch=4, decode=4)),
        (4, 32, Load(processes=2, batches=2), Threads(fetch=5, decode=4)),
        (4, 32, Load(processes=2, batches=2, is_trained=True), Threads(fetch=4, decode=2)),
    ],
)
def test_cores_bound_the_threads_or_else_memory_does(
    gib: int, cores: int, load: Load, expected: Threads
) -> None:
    assert fit(Share(cores=cores, memory_bytes=gib * GIB), load) == expected


@given(
    memory_mib=st.integers(1, 2**20),
    cores=st.integers(1, 256),
    processes=st.integers(1, 16),
    more_batches=st.integers(0, 16),
    is_trained=st.booleans(),
    finds_views=st.booleans(),
)
def test_the_worst_images_fit_wherever_one_image_fits(
    memory_mib: int, cores: int, processes: int, more_batches: int, is_trained: bool, finds_views: bool
) -> None:
    load = Load(
        processes=processes,
        batches=processes + more_batches,
        is_trained=is_trained,
        finds_views=finds_views,
    )
    share = Share(cores=cores, memory_bytes=memory_mib * 2**20)
    threads = fit(share, load)
    assert 1 <= threads.decode <= max(1, cores // load.batches)
    assert threads.decode <= threads.fetch <= MOST_FETCH_THREADS
    fits = needed_bytes(LIMITS, threads, load) <= share.memory_bytes
    assert fits or threads == LEAST


def test_threads_that_are_set_are_taken_and_shared_by_the_batches() -> None:
    small = Share(cores=2, memory_bytes=GIB)
    assert fit(small, Load(batches=2), decode_threads=6, fetch_threads=32) == Threads(fetch=32, decode=3)
    assert fit(small, Load(batches=4), decode_threads=1) == LEAST
    assert fit(small, fetch_threads=3) == Threads(fetch=3, decode=1)


@pytest.mark.parametrize(
    ("cores", "settings", "of_folder", "ahead"),
    [
        (2, {}, True, False),  # each of the two batches has a core
        (2, {}, False, True),  # a bucket has to be waited for
        (4, {}, True, True),  # two cores for each batch
        (2, {"fetch_threads": 1}, True, True),  # somebody has set it
        (2, {"jpeg_decoder": "cuda"}, True, True),  # a GPU decodes several pictures in one call
    ],
)
def test_a_batch_has_no_threads_beside_its_own_where_they_would_only_take_turns(
    cores: int, settings: dict[str, object], of_folder: bool, ahead: bool
) -> None:
    load, share = Load(batches=2, of_folder=of_folder), Share(cores=cores, memory_bytes=64 * GIB)
    assert concurrency_of(Settings.model_validate(settings), load, share).works_ahead is ahead


def test_a_larger_budget_for_an_image_leaves_fewer_threads() -> None:
    share = Share(cores=32, memory_bytes=4 * GIB)
    twice = ImageLimits(decode_budget_bytes=2 * LIMITS.decode_budget_bytes)
    assert fit_threads(Settings(), twice, share, Load()).decode < fit(share).decode


@pytest.mark.parametrize("is_trained", [False, True])
def test_memory_that_is_too_small_for_the_model_and_an_image_is_told_to_the_log(
    is_trained: bool, caplog: pytest.LogCaptureFixture
) -> None:
    small = Share(cores=32, memory_bytes=GIB)
    caplog.set_level(logging.WARNING)  # a command that ran in this process has set another
    concurrency_of(Settings(), Load(is_trained=is_trained), small)
    told = [(record.memory_mib, record.needed_mib) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == ([(1024, 1440)] if is_trained else [])


@pytest.mark.parametrize(
    ("queues", "spec", "is_trained", "finds_views"),
    [
        (("prepare",), FACES, False, True),
        (("embed",), FACES, True, True),  # inline, it prepares too
        (("search",), FACES, True, True),  # the picture of a query
        (("plan",), FACES, False, False),
        (("prepare",), replace(FACES, capabilities=(Capability.IMAGES,)), False, False),
        (("embed",), SPEC, True, False),
    ],
)
def test_a_worker_counts_the_networks_that_its_queues_need(
    queues: tuple[str, ...], spec: ModelSpec, is_trained: bool, finds_views: bool, tmp_path: Path
) -> None:
    load = load_of(replace(identity_of(tmp_path), queues=queues), spec)
    assert (load.is_trained, load.finds_views) == (is_trained, finds_views)
    assert (load.processes, load.batches) == (2, 2)


def test_each_trained_model_beside_the_first_takes_as_much_as_the_first(tmp_path: Path) -> None:
    beside = (ModelBeside(name="copies", spec=SPEC), ModelBeside(name="colours", spec=builtin_spec()))
    spec = replace(SPEC, beside=beside)
    embeds, plans = (
        load_of(replace(identity_of(tmp_path), queues=queues), spec) for queues in (("embed",), ("plan",))
    )
    assert (embeds.models_beside, plans.models_beside) == (1, 0)
    alone = load_of(replace(identity_of(tmp_path), queues=("embed",)), SPEC)
    more = needed_bytes(LIMITS, LEAST, embeds) - needed_bytes(LIMITS, LEAST, alone)
    assert more == MODEL_BYTES * embeds.processes
    both = replace(INFO, beside={"copies": replace(INFO, model_address="m.toml")})
    assert load_of_searches([INFO, both]) == Load(models_beside=1)


def test_a_detector_leaves_fewer_threads_in_a_small_container() -> None:
    small, load = Share(cores=32, memory_bytes=2 * GIB), Load(finds_views=True)
    assert fit(small, load) == Threads(fetch=7, decode=2)
    without = needed_bytes(LIMITS, LEAST, Load())
    assert needed_bytes(LIMITS, LEAST, load) == without + FINDER_BYTES + LOOK_BYTES


@pytest.mark.parametrize("has_views", [False, True])
def test_who_searches_faces_counts_the_detector(has_views: bool) -> None:
    plain = replace(INFO, has_views=False, model_address=DEFAULT_MODEL)
    searched = replace(INFO, name="other", has_views=has_views, model_address="faces.toml")
    assert load_of_searches([plain]) == Load()
    assert load_of_searches([plain, searched]) == Load(is_trained=True, finds_views=has_views)


@pytest.mark.parametrize(
    ("model", "counts", "load"),
    [
        ("builtin", {}, Load(batches=3)),
        ("faces", {}, Load(batches=3, is_trained=True)),
        ("faces", {"faces_found": 1}, Load(batches=3, is_trained=True, finds_views=True)),
        ("faces", {"without_faces": 1}, Load(batches=3, is_trained=True, finds_views=True)),
    ],
)
def test_a_job_says_which_networks_run_for_it(
    ledger: SqlLedger, model: str, counts: dict[str, int], load: Load
) -> None:
    job = ledger.create_job(request_of(spec=replace(SPEC, name=model)), driver=HERE)
    counted = replace(job, counts=replace(job.counts, **counts))
    assert load_of_job(counted, Settings(batch_threads=3)) == load


INFO = CollectionInfo(
    name="images",
    model_name="builtin",
    model_address=DEFAULT_MODEL,
    fingerprint="f" * 64,
    dim=8,
    vector_type="float32",
    precision="auto",
    rows=0,
)
