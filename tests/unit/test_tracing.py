"""Traces: from a request over messages to the stages of a batch, and nothing while they are off."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.api.wake import PlannerWaker
from pipeline.errors import ConfigError
from pipeline.ingest.message import encode_batch
from pipeline.ports import Deps
from pipeline.settings import Settings
from pipeline.tracing import TRACE_HEADER, provider_in_use, start_tracing, trace_headers, trace_with
from tests.loaded_packages import loaded_packages
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import jpeg, plan_one_batch
from tests.unit.memory_broker import MemoryBroker, Settled, message_of
from workers.process.context import Context

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


class Spans:
    """What was traced."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str) -> ReadableSpan:
        [found] = [span for span in self._exporter.get_finished_spans() if span.name == name]
        return found

    def names(self) -> set[str]:
        return {span.name for span in self._exporter.get_finished_spans()}


@pytest.fixture
def spans() -> Iterator[Spans]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_with(provider)
    yield Spans(exporter)
    trace_with(None)


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def parent_of(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent else ""


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def test_a_batch_and_its_stages_belong_to_the_trace_of_its_message(
    spans: Spans, broker: MemoryBroker, context: Context
) -> None:
    context.deps.store.put("photos", "a.jpg", jpeg())
    batch = plan_one_batch(context.deps)
    message = message_of("pictor.embed_batch", message=encode_batch(batch).decode())
    settled, _ = broker.deliver(message.with_headers({TRACE_HEADER: TRACEPARENT}))
    assert settled is Settled.ACKNOWLEDGED
    task = spans.named("process pictor.embed_batch")
    assert (trace_of(task), parent_of(task)) == (TRACE_ID, "00f067aa0ba902b7")
    assert spans.names() >= {"fetch", "decode", "device", "write", "report"}
    for stage in ("fetch", "decode", "device", "write"):
        span = spans.named(stage)
        assert (trace_of(span), parent_of(span)) == (TRACE_ID, id_of(task))
        assert dict(span.attributes or {})["pictor.job_id"] == batch.job_id
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time


@pytest.mark.parametrize("sent", [None, "", 7, "no trace", TRACEPARENT.upper(), "ü" * 100])
def test_a_header_that_is_no_trace_begins_a_new_one(
    spans: Spans, broker: MemoryBroker, context: Context, sent: object
) -> None:
    message = message_of("pictor.job", v=1, job_id="none")
    broker.deliver(message.with_headers({TRACE_HEADER: sent}))
    assert parent_of(spans.named("process pictor.job")) == ""


def test_an_error_is_told_by_its_kind_and_not_by_its_words(
    spans: Spans, broker: MemoryBroker, context: Context
) -> None:
    settled, _ = broker.deliver(message_of("pictor.embed_batch", message="a secret"))
    assert settled is Settled.ACKNOWLEDGED  # a copy is among the dead letters
    told = repr([span.attributes for span in [spans.named("process pictor.embed_batch")]])
    assert "a secret" not in told
    assert not spans.named("process pictor.embed_batch").events


def test_a_request_wakes_its_planner_within_its_own_trace(
    spans: Spans, broker: MemoryBroker, context: Context, deps: Deps, ledger: SqlLedger, tmp_path: Path
) -> None:
    waker = PlannerWaker(ledger, context.publisher)
    client = client_of(backend_of(deps, tmp_path, driver="workers", runner=waker))
    answer = client.post("/v1/jobs", json={"source": "s3://photos/"}, headers={TRACE_HEADER: TRACEPARENT})
    assert answer.status_code == 202, answer.text
    waker.close()
    request = spans.named("POST /v1/jobs")
    assert (trace_of(request), parent_of(request)) == (TRACE_ID, "00f067aa0ba902b7")
    [step] = broker.messages("plan")
    assert step.headers[TRACE_HEADER] == f"00-{TRACE_ID}-{id_of(request)}-01"


def test_pages_and_probes_are_not_traced(spans: Spans, deps: Deps, tmp_path: Path) -> None:
    client = client_of(backend_of(deps, tmp_path))
    assert client.get("/livez").status_code == 200
    assert spans.names() == set()


def test_while_it_is_off_nothing_is_imported_and_no_header_is_sent(
    broker: MemoryBroker, context: Context, tmp_path: Path
) -> None:
    assert provider_in_use() is None
    assert trace_headers() == {}
    context.publisher.publish_plan_step("a-job", 0, "nonce")
    [step] = broker.messages("plan")
    assert TRACE_HEADER not in step.headers
    before = "import pipeline.tracing, workers.tracing, workers.broker.publish"
    assert "opentelemetry" not in loaded_packages(tmp_path, "--version", before=before)


def test_an_endpoint_without_the_packages_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = Settings.model_construct(otlp_endpoint="http://collector:4318")
    with pytest.raises(ConfigError, match=r"pip install 'pictor\[otel\]'"):
        start_tracing(settings, service="pictor-api")
    assert provider_in_use() is None


def test_the_standard_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert Settings.from_env().otlp_endpoint == "http://collector:4318"
