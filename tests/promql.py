"""What Prometheus and Grafana are told to ask, and of which metrics."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, Metric

from pipeline.api.metrics import ServiceMetrics
from tests.conftest import REPOSITORY
from workers.metrics.metrics import Metrics

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "pictor.json"

# What is asked of RabbitMQ. A test holds it against a real broker's page; RabbitMQ 4 has the same names.
RABBITMQ_METRICS = frozenset(
    f"rabbitmq_detailed_{name}"
    for name in (
        "queue_messages",
        "queue_messages_ready",
        "queue_messages_unacked",
        "queue_consumers",
        "channel_messages_acked_total",
    )
)
PROMETHEUS_METRICS = frozenset({"up", "ALERTS"})  # made by Prometheus itself

_TEXT = re.compile(r'"[^"]*"')
_MATCHERS = re.compile(r"\{[^}]*\}")
_RANGE = re.compile(r"\[[^\]]*\]")
_LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_OPERATORS = frozenset({"and", "or", "unless", "bool", "offset"})


def metrics_in(expr: str) -> set[str]:
    """Every name in an expression that is neither a function nor an operator nor a label."""
    bare = expr
    for part in (_TEXT, _MATCHERS, _RANGE, _LABEL_LIST):
        bare = part.sub(" ", bare)
    functions = {match[1] for match in re.finditer(r"([a-z_0-9]+)\s*\(", bare)}
    aggregations = {"sum", "min", "max", "count"}  # with `by (…)` between them and their bracket
    return set(_NAME.findall(bare)) - functions - aggregations - _OPERATORS


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def asked() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for rule in alert_rules():
        yield f"alert {rule['alert']}", rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for annotation in json.loads(DASHBOARD.read_text())["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def exported_metrics() -> set[str]:
    """Every name of ours, of workers and of the service, without samples that Prometheus does not get."""
    of_service = ServiceMetrics().registry.collect()
    return metrics_of_workers() | _names_of(one for one in of_service if one.name.startswith("pictor_"))


def metrics_of_workers() -> set[str]:
    """As `exported_metrics`, of workers alone."""
    registry = CollectorRegistry()
    Metrics(registry)
    return _names_of(registry.collect())


def _names_of(families: Iterable[Metric]) -> set[str]:
    names = set()
    for family in families:
        match family.type:
            case "counter":
                names.add(f"{family.name}_total")
            case "histogram":
                names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
            case _:
                names.add(family.name)
    return names


def kept_by_prometheus(path: Path = PROMETHEUS / "prometheus.yml") -> re.Pattern[str]:
    """What of RabbitMQ's page by queue is not thrown away."""
    jobs = {job["job_name"]: job for job in yaml.safe_load(path.read_text())["scrape_configs"]}
    [relabel] = jobs["rabbitmq-queues"]["metric_relabel_configs"]
    assert relabel["action"] == "keep"
    return re.compile(relabel["regex"])
