"""The metrics of one process of the service, with every name, label, bucket and meaning.

Routes are named as they are declared, so the number of series is fixed whatever is asked for. No key, file
name, collection or caller is a label.
"""

import platform
from importlib.metadata import version

from prometheus_client import (
    CONTENT_TYPE_LATEST as CONTENT_TYPE,
)
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from pipeline.search.gathered_index import CALLS

__all__ = ["CONTENT_TYPE", "ServiceMetrics"]

# From an answer out of memory to a batch of a hundred pictures.
_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BUCKETS_QUESTIONS = (1, 2, 3, 4, 6, 8, 16, 32)
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OTHER = "other"  # a method that no route has
NO_ROUTE = "none"  # turned away before its route was looked for, or there is none
CLOSED = "closed"  # the caller hung up before an answer

REQUESTS, STREAMS = "requests", "streams"
KINDS = (REQUESTS, STREAMS)
API, PAGE = "api", "page"
DOORS = (API, PAGE)
ANSWERS = ("answered", "refused")  # of a query. If it is refused, the answer says why


class ServiceMetrics:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU time, open files
        self._requests = Counter(
            "pictor_http_requests_total",
            "Requests that were answered, by route, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pictor_http_request_seconds",
            "Time from the head of a request to the end of its answer; without streams of events",
            ["route", "method"],
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self._in_flight = Gauge(
            "pictor_http_in_flight",
            "Requests, and streams of events, that are open now; without probes",
            ["kind"],
            registry=self.registry,
        )
        self._shed = Counter(
            "pictor_http_shed_total",
            "Requests turned away with 429, before any work was done",
            ["kind"],
            registry=self.registry,
        )
        self._searches = Counter(
            "pictor_searches_total",
            "Queries of searches, by kind of answer and by the door that they came by",
            ["answer", "door"],
            registry=self.registry,
        )
        self._search_seconds = Histogram(
            "pictor_search_seconds",
            "Time of one search, from its queries to its answers",
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self._index_calls = Histogram(
            "pictor_index_call_questions",
            "Searches or lookups of rows that went to the index in one call",
            ["call"],
            registry=self.registry,
            buckets=_BUCKETS_QUESTIONS,
        )
        build = Gauge(
            "pictor_build_info", "1; what runs here", ["version", "python", "torch"], registry=self.registry
        )
        build.labels(version("pictor"), platform.python_version(), version("torch")).set(1)
        # The rate of a series that begins with its first event does not show that event.
        for kind in KINDS:
            self._in_flight.labels(kind)
            self._shed.labels(kind)
        for door in DOORS:
            for answer in ANSWERS:
                self._searches.labels(answer, door)
        self._questions = {call: self._index_calls.labels(call) for call in CALLS}

    def open_request(self, kind: str) -> None:
        self._in_flight.labels(kind).inc()

    def close_request(self, kind: str) -> None:
        self._in_flight.labels(kind).dec()

    def record_request(self, route: str, method: str, status: int, kind: str, seconds: float) -> None:
        """Args: `status` is 0 when the caller hung up before an answer."""
        known = method if method in METHODS else OTHER
        self._requests.labels(route, known, str(status) if status else CLOSED).inc()
        if kind == REQUESTS:
            self._seconds.labels(route, known).observe(seconds)
        if status == 429:
            self._shed.labels(kind).inc()

    def record_search(self, door: str, *, answered: int, refused: int, seconds: float) -> None:
        self._searches.labels("answered", door).inc(answered)
        self._searches.labels("refused", door).inc(refused)
        self._search_seconds.observe(seconds)

    def record_index_call(self, call: str, questions: int) -> None:
        """Args: `call` is one of `gathered_index.CALLS`."""
        self._questions[call].observe(questions)

    def page(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
