"""Traces of OpenTelemetry, for the service and for workers. Off, and not imported, unless they are asked for.

Names of spans and attributes follow the conventions of OpenTelemetry for HTTP and messaging. Those for
messaging are not stable yet, so ours may change with any version.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACE_HEADER = "traceparent"  # of W3C, in HTTP and in messages
_PACKAGES = "opentelemetry"

Attributes = Mapping[str, str | int | float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A part of the current work that is over. Times are seconds since 1970."""

    name: str
    began_s: float
    ended_s: float
    attributes: Attributes


class _Tracing:
    """What this process traces with; None while tracing is off."""

    provider: "TracerProvider | None" = None


def start_tracing(settings: Settings, *, service: str) -> None:
    """Begin to send spans, if there is an endpoint for them.

    Args:
        service: its name in a trace, unless `OTEL_SERVICE_NAME` gives another.

    Raises:
        ConfigError: the packages for it are not installed.
    """
    if not settings.otlp_endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith(_PACKAGES):
            raise
        raise ConfigError(
            "PICTOR_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for traces are not "
            "installed; pip install 'pictor[otel]' brings them"
        ) from err
    found = Resource.create()
    is_named = not str(found.attributes[SERVICE_NAME]).startswith("unknown_service")
    provider = TracerProvider(resource=found if is_named else found.merge(Resource({SERVICE_NAME: service})))
    # The exporter reads the other standard variables itself: headers, certificate, timeout.
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint.rstrip("/") + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace_with(provider)


def stop_tracing() -> None:
    """Send what is left. Safe to run twice."""
    provider, _Tracing.provider = _Tracing.provider, None
    if provider is not None:
        provider.shutdown()


@contextmanager
def traced(settings: Settings, *, service: str) -> Iterator[None]:
    """Raises ConfigError: see `start_tracing`."""
    start_tracing(settings, service=service)
    try:
        yield
    finally:
        stop_tracing()


def trace_with(provider: "TracerProvider | None") -> None:
    """Trace with a provider from now on, or not at all; for a test with an exporter in memory."""
    _Tracing.provider = provider


def provider_in_use() -> "TracerProvider | None":
    return _Tracing.provider


def trace_headers() -> dict[str, str]:
    """Headers that lead from a message back to the current work; none while tracing is off."""
    headers: dict[str, str] = {}
    if _Tracing.provider is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


@contextmanager
def traced_message(name: str, headers: Mapping[str, object] | None, attributes: Attributes) -> Iterator[None]:
    """A span around the work on one message, below the span whose sender wrote its headers.

    Anybody who may publish can write those. What is no trace begins a new one.
    """
    if _Tracing.provider is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    sent = (headers or {}).get(TRACE_HEADER)
    parent = TraceContextTextMapPropagator().extract({TRACE_HEADER: sent} if isinstance(sent, str) else {})
    with _tracer().start_as_current_span(
        name,
        context=parent,
        kind=SpanKind.CONSUMER,
        attributes=dict(attributes),
        record_exception=False,  # its words may hold what belongs to nobody who reads traces
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except BaseException as err:
            span.set_attribute("error.type", type(err).__name__)
            raise


def trace_steps(steps: Iterable[Step]) -> None:
    """Parts of the current work, which are over already."""
    if _Tracing.provider is None:
        return
    for step in steps:
        span = _tracer().start_span(
            step.name, start_time=_nanoseconds(step.began_s), attributes=dict(step.attributes)
        )
        span.end(_nanoseconds(step.ended_s))


def _tracer() -> Any:
    assert _Tracing.provider is not None
    return _Tracing.provider.get_tracer("pictor")


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
