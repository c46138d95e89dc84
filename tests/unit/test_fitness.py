"""Whether a process can do its work, or a message is to blame."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import (
    ConfigError,
    CredentialsError,
    FatalError,
    ImageError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import CollectionInfo, Job, Reason
from tests.unit.fakes import BUCKET, FakeEmbedder
from workers.process.context import Context, make_current
from workers.process.fitness import find_fault


class FailingLedger(SqlLedger):
    error: PictorError

    def list_jobs(self, **_: object) -> list[Job]:
        raise self.error


class FailingIndex(MemoryIndex):
    error: PictorError

    def get_collection(self, name: str) -> CollectionInfo | None:
        raise self.error


def fail_ledger(context: Context, error: PictorError) -> None:
    assert isinstance(context.deps.ledger, SqlLedger)
    failing = FailingLedger(context.deps.ledger._engine)
    failing.error = error
    make_current(replace(context, deps=replace(context.deps, ledger=failing)))


def fail_index(context: Context, error: PictorError) -> None:
    failing = FailingIndex()
    failing.error = error
    make_current(replace(context, deps=replace(context.deps, index=failing)))


def fail_store(context: Context, error: PictorError) -> None:
    assert isinstance(context.deps.store, MemoryStore)
    context.deps.store.fail_next(error)


def fail_model(context: Context, error: PictorError) -> None:
    assert isinstance(context.deps.embedder, FakeEmbedder)
    context.deps.embedder.fail_next(error)


def fail_model_beside(context: Context, error: PictorError) -> None:
    embedder = FakeEmbedder()
    embedder.fail_next(error)
    make_current(replace(context, deps=replace(context.deps, beside={"copies": embedder})))


ALL = [fail_ledger, fail_index, fail_store, fail_model, fail_model_beside]


def test_a_process_that_everything_answers_is_fit(context: Context) -> None:
    assert find_fault() is None


@pytest.mark.parametrize(
    "error", [CredentialsError("refused"), ConfigError("odd"), FatalError("lost"), TransientError("away")]
)
@pytest.mark.parametrize("fail", ALL)
def test_what_fails_it_is_said(
    context: Context, fail: Callable[[Context, PictorError], None], error: PictorError
) -> None:
    fail(context, error)
    assert find_fault() is error


def test_a_device_that_raises_what_nobody_foresaw_is_a_fault(
    context: Context, embedder: FakeEmbedder
) -> None:
    embedder.fail_next(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert str(find_fault()) == "this process is not fit for work: RuntimeError"


def test_a_process_that_was_not_warmed_up_is_not_fit(context: Context) -> None:
    make_current(None)
    assert isinstance(find_fault(), FatalError)


@pytest.mark.parametrize("reason", [Reason.NOT_FOUND, Reason.ACCESS_DENIED])
def test_a_store_that_refuses_an_object_has_answered(context: Context, reason: Reason) -> None:
    fail_store(context, ImageError(reason, "no"))
    assert find_fault() is None


@pytest.mark.parametrize("is_staged", [False, True])
def test_only_the_staged_way_needs_the_staging_bucket(context: Context, is_staged: bool) -> None:
    settings = context.settings.model_copy(update={"staging_bucket": "gone"})
    deps = replace(context.deps, staging_bucket="gone" if is_staged else "")
    make_current(replace(context, settings=settings, deps=deps))
    assert isinstance(find_fault(), TargetError) == is_staged


def test_a_model_that_is_not_loaded_is_not_asked(context: Context, embedder: FakeEmbedder) -> None:
    """A planner's is not: to load it would take its memory."""
    embedder.device = ""
    assert find_fault() is None
    assert embedder.calls == []


def test_a_staged_worker_whose_bucket_is_there_is_fit(context: Context) -> None:
    deps = replace(context.deps, staging_bucket=BUCKET)
    settings = context.settings.model_copy(update={"staging_bucket": BUCKET})
    make_current(replace(context, settings=settings, deps=deps))
    assert find_fault() is None
