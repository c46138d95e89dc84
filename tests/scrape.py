"""A page for Prometheus, read as Prometheus would."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import Reservation


@dataclass(frozen=True)
class Page:
    """`text` as it came; values by name and labels."""

    text: str

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of this name that have these labels; 0 when there is none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Nonzero values by one label."""
        return {
            sample.labels[label]: sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name and sample.value
        }

    def names(self) -> set[str]:
        return {s.name for family in text_string_to_metric_families(self.text) for s in family.samples}

    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Whatever must never go back."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }


def scrape(url: str) -> Page:
    # Without the proxy of the environment: it cannot reach this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return Page(answer.read().decode())


@contextmanager
def free_port() -> Iterator[int]:
    """Kept free of others until the end; a server that is told to may listen on it."""
    reservation = Reservation()
    try:
        yield reservation.take()
    finally:
        reservation.release()
