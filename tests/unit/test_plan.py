"""From a listing to batches."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.ingest.compare import compare_versions
from pipeline.ingest.message import MAX_MESSAGE_BYTES, decode_batch
from pipeline.ingest.plan import MAX_BATCH_KEY_BYTES, PlanStep, cut_batches, plan_job, retry_batches
from pipeline.types import WORKERS, Job, JobCounts, JobRequest, JobState, ObjectRef
from tests.unit.fakes import ref_of, request_of

# About half of the keys are ignored: .txt is no image's suffix.
keys_of_a_listing = st.lists(
    st.builds("{}{}".format, st.text("abc/é😀", min_size=1, max_size=6), st.sampled_from([".jpg", ".txt"])),
    unique=True,
    max_size=40,
).map(sorted)


def refs_of(keys: Iterable[str]) -> list[ObjectRef]:
    return [ref_of(key) for key in keys]


def cut(refs: Iterable[ObjectRef], request: JobRequest, first_number: int = 0) -> list[PlanStep]:
    compared = compare_versions(refs, iter(()), request)
    return list(cut_batches(compared, job_id="j", request=request, first_number=first_number))


def keys_in(step: PlanStep) -> list[str]:
    return [ref.key for ref in decode_batch(step.batch.body).refs] if step.batch else []


def job_of(request: JobRequest) -> Job:
    return Job(
        job_id="j",
        request=request,
        driver=WORKERS,
        state=JobState.RUNNING,
        planned=True,
        cursor=None,
        planned_batches=0,
        counts=JobCounts(scanned=0, indexed=0, unchanged=0, failed=0, pending=0, ignored=0),
        error="",
        created_at=None,  # type: ignore[arg-type]  # not looked at
        finished_at=None,
    )


def test_a_listing_is_cut_into_numbered_batches() -> None:
    steps = cut(refs_of("abcde"), request_of(batch_items=2))
    assert [keys_in(step) for step in steps] == [["a", "b"], ["c", "d"], ["e"]]
    assert [step.batch.path for step in steps if step.batch] == ["00000000", "00000001", "00000002"]
    assert [step.batch.items for step in steps if step.batch] == [2, 2, 1]
    assert [step.cursor for step in steps] == ["b", "d", "e"]


def test_a_message_carries_the_job_the_collection_and_the_model() -> None:
    request = request_of()
    [step] = cut(refs_of("a"), request)
    assert step.batch is not None
    batch = decode_batch(step.batch.body)
    assert (batch.job_id, batch.path) == ("j", step.batch.path)
    assert (batch.collection, batch.fingerprint) == (request.collection, request.fingerprint)
    assert batch.refs == (ref_of("a"),)


def test_the_cursor_moves_on_through_a_multitude_of_ignored_keys() -> None:
    keys = [f"{number:06d}.txt" for number in range(25_000)]
    keys[15_000] = "015000.jpg"
    steps = cut(refs_of(keys), request_of(batch_items=2))
    assert [(keys_in(step), step.ignored, step.cursor) for step in steps] == [
        ([], 10_000, "009999.txt"),
        (["015000.jpg"], 10_000, "020000.txt"),
        ([], 4_999, "024999.txt"),
    ]


def test_ignored_keys_are_counted_with_the_step_that_passes_them() -> None:
    keys = ["0.txt", "a", "b.txt", "c", "d.txt", "e", "f.txt", "g.txt"]
    steps = cut(refs_of(keys), request_of(batch_items=2))
    assert [(keys_in(step), step.ignored, step.cursor) for step in steps] == [
        (["a", "c"], 2, "c"),
        (["e"], 3, "g.txt"),
    ]


def test_ignored_keys_after_the_last_batch_make_a_step_without_a_batch() -> None:
    steps = cut(refs_of(["a", "b", "c.txt"]), request_of(batch_items=2))
    assert [(keys_in(step), step.ignored, step.cursor) for step in steps] == [
        (["a", "b"], 0, "b"),
        ([], 1, "c.txt"),
    ]
    assert steps[-1].batch is None


def test_an_empty_listing_makes_no_step() -> None:
    assert cut([], request_of()) == []


@given(keys=keys_of_a_listing, batch_items=st.integers(1, 7))
def test_every_chosen_key_is_in_exactly_one_batch_and_every_other_is_counted(
    keys: list[str], batch_items: int
) -> None:
    steps = cut(refs_of(keys), request_of(batch_items=batch_items))
    planned = [key for step in steps for key in keys_in(step)]
    hidden = [key for key in keys if any(part.startswith(".") for part in key.split("/"))]
    assert planned == [key for key in keys if key.endswith(".jpg") and key not in hidden]
    assert len(planned) + sum(step.ignored for step in steps) == len(keys)
    assert all(step.batch.items <= batch_items for step in steps if step.batch)


@given(keys=keys_of_a_listing, batch_items=st.integers(1, 5), data=st.data())
def test_planning_from_any_recorded_cursor_gives_the_rest_of_the_same_batches(
    keys: list[str], batch_items: int, data: st.DataObject
) -> None:
    request = request_of(batch_items=batch_items)
    steps = cut(refs_of(keys), request)
    done = data.draw(st.integers(0, len(steps)))
    cursor = steps[done - 1].cursor if done else ""
    planned = sum(step.batch is not None for step in steps[:done])
    assert cut(refs_of(key for key in keys if key > cursor), request, planned) == steps[done:]


@pytest.mark.parametrize("letter", ["a", "\x01", '"', "é", "😀"])
def test_batches_of_the_longest_keys_fit_into_a_message(letter: str) -> None:
    key = letter * (1024 // len(letter.encode()))  # as long as S3 allows
    refs = refs_of(f"{number:04d}/{key}" for number in range(1000))
    steps = cut(refs, request_of(batch_items=1000))
    retried = retry_batches(refs, job=job_of(request_of(batch_items=1000)), attempt="retry1")
    for batches in ([step.batch for step in steps], retried):
        bodies = [batch.body for batch in batches if batch]
        assert max(map(len, bodies)) <= MAX_MESSAGE_BYTES
        assert [ref for body in bodies for ref in decode_batch(body).refs] == refs


def test_short_keys_are_never_cut_by_their_length() -> None:
    keys = [f"2024/05/camera-17/{number:06d}.jpg" for number in range(1000)]
    assert sum(map(len, keys)) < MAX_BATCH_KEY_BYTES
    assert len(cut(refs_of(keys), request_of(batch_items=1000))) == 1


def test_the_listing_is_consumed_as_batches_are_taken_and_not_before() -> None:
    taken: list[str] = []

    def listing() -> Iterable[ObjectRef]:
        for key in "abcdefgh":
            taken.append(key)
            yield ref_of(key)

    compared = compare_versions(listing(), iter(()), request_of(batch_items=2))
    steps = cut_batches(compared, job_id="j", request=request_of(batch_items=2))
    next(steps)
    assert taken == ["a", "b"]


def test_links_that_are_not_followed_are_counted_and_told_where_they_would_be_tried(
    tmp_path: Path, ledger: SqlLedger
) -> None:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.txt", "c/d.png", "@eaDir/e.png"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).symlink_to("/nowhere")
    (folder / "f.jpg").write_bytes(b"x")
    missed: list[ObjectRef] = []
    job = job_of(request_of(bucket=str(folder)))
    [step] = plan_job(job, FolderStore(), ledger.book, on_missed_link=missed.append)
    assert (keys_in(step), step.ignored) == (["f.jpg"], 4)
    assert [ref.key for ref in missed] == ["a.jpg", "c/d.png"]


def paths_of(refs: Sequence[ObjectRef], attempt: str) -> list[str]:
    job = job_of(request_of(batch_items=2))
    return [batch.path for batch in retry_batches(refs, job=job, attempt=attempt)]


def test_retried_objects_are_cut_into_batches_with_paths_of_their_own() -> None:
    assert paths_of(refs_of("abc"), "retry1") == ["retry1-00000000", "retry1-00000001"]
    assert not set(paths_of(refs_of("abc"), "retry2")) & set(paths_of(refs_of("abc"), "retry1"))


def test_a_retry_takes_every_object_it_is_given_even_one_that_the_job_would_ignore() -> None:
    refs = refs_of(["a.txt", ".hidden.jpg", "b"])
    batches = retry_batches(refs, job=job_of(request_of(batch_items=2)), attempt="retry1")
    assert [ref for batch in batches for ref in decode_batch(batch.body).refs] == refs
