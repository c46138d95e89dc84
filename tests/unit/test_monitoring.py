"""What Prometheus and Grafana are given: it parses, fires when it should, and asks for what there is."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from devstack import promtool
from tests.conftest import missing
from tests.promql import (
    DASHBOARD,
    PROMETHEUS,
    PROMETHEUS_METRICS,
    RABBITMQ_METRICS,
    alert_rules,
    asked,
    exported_metrics,
    kept_by_prometheus,
    metrics_in,
    panels,
)
from workers.broker.queue_names import DEAD, FORMER_QUEUES, PUBLIC_QUEUES, model_queues


def run_promtool(*arguments: str) -> str:
    absent = promtool.missing()
    if absent:
        missing(f"{absent}; run `python -m devstack install`")
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_the_rules_are_what_prometheus_reads() -> None:
    run_promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    run_promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")


def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    run_promtool("test", "rules", "alerts_test.yml")


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    expected = [case for test in cases for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in expected if case.get("exp_alerts")}
    silent = {case["alertname"] for case in expected if not case.get("exp_alerts")}
    assert fires == silent == {rule["alert"] for rule in alert_rules()}


def test_each_alert_says_what_it_means_and_what_to_do() -> None:
    for rule in alert_rules():
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]


def test_every_expression_asks_for_metrics_that_there_are() -> None:
    known = exported_metrics() | RABBITMQ_METRICS | PROMETHEUS_METRICS
    unknown = {where: metrics_in(expr) - known for where, expr in asked()}
    assert {where: names for where, names in unknown.items() if names} == {}
    assert all(metrics_in(expr) for _, expr in asked())


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("sum by (queue, le) (rate(a_bucket[5m])) / b", {"a_bucket", "b"}),
        (
            'max by (x) (c{queue=~"d|e"}) > 0 unless on (v) sum by (v) (increase(f_total[1m])) > 0',
            {"c", "f_total"},
        ),
        ("time() - min(g > 0)", {"g"}),
        ("histogram_quantile(0.5, sum(rate(pictor_typo[$__rate_interval])))", {"pictor_typo"}),
    ],
)
def test_the_names_of_metrics_are_found_in_an_expression(expr: str, names: set[str]) -> None:
    assert metrics_in(expr) == names


def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, (_, expr) in enumerate(asked())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run_promtool("check", "rules", str(file))


def test_prometheus_keeps_of_rabbitmq_what_is_asked_for_and_no_more() -> None:
    kept = kept_by_prometheus()
    assert all(kept.fullmatch(name) for name in RABBITMQ_METRICS)
    used = {name for _, expr in asked() for name in metrics_in(expr)}
    assert used >= RABBITMQ_METRICS


@pytest.mark.parametrize("where", [where for where, expr in asked() if "queue=" in expr])
def test_queues_are_named_as_they_are_declared(where: str) -> None:
    work = {*PUBLIC_QUEUES, *FORMER_QUEUES.values(), *model_queues("f5c4f95b")}
    names = (*work, DEAD, "celery_delayed_3", "celeryev.1")
    [expr] = [expr for place, expr in asked() if place == where]
    for matcher in re.findall(r'queue=~?"([^"]*)"', expr):
        seen = {name for name in names if re.fullmatch(matcher, name)}
        assert seen in (work, {DEAD}, work | {DEAD})


def family_of(name: str) -> str:
    return re.sub("_(bucket|sum|count)$", "", name)


def test_the_dashboard_shows_what_an_operator_asks_first() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    shown = {name for panel in panels() for target in panel["targets"] for name in metrics_in(target["expr"])}
    assert {family_of(name) for name in exported_metrics()} - {family_of(name) for name in shown} == set()
    assert all(panel["description"] for panel in panels())
    sources = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert sources == {
        "${datasource}"
    }  # chosen in Grafana: a uid of one installation is unknown in all others


def test_panels_do_not_lie_on_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
