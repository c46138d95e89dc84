"""The manifests of every overlay, rendered as they would be applied, offline."""

import pytest

from benchmarks.figures import read_result
from benchmarks.part import RESULTS
from tests.conftest import REPOSITORY
from tests.deploy.pod_checks import pod_faults
from tests.deploy.reference_checks import reference_faults
from tests.deploy.rendered import (
    OVERLAYS,
    Doc,
    api_containers,
    environment,
    named,
    of_kind,
    options_of,
    render,
    template_of,
    worker_containers,
    workloads,
)
from tests.deploy.scaling_checks import scaling_faults
from tests.deploy.schema_checks import schema_faults


def all_faults(docs: list[Doc], secrets: dict[str, set[str]]) -> list[str]:
    """Our own checks read fields without asking what they are: the schemas come first."""
    return schema_faults(docs) or [
        *pod_faults(docs),
        *reference_faults(docs, secrets),
        *scaling_faults(docs),
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_has_no_fault(overlay: str, secret_keys: dict[str, set[str]]) -> None:
    assert all_faults(render(overlay), secret_keys) == []


def test_every_overlay_is_checked() -> None:
    folders = {path.parent.name for path in (REPOSITORY / "k8s" / "overlays").glob("*/kustomization.yaml")}
    assert folders == set(OVERLAYS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_worker_and_the_service_have_a_budget_of_one_pod_at_a_time(overlay: str) -> None:
    docs = render(overlay)
    ours = (*worker_containers(docs), *api_containers(docs))
    names = {workload["metadata"]["name"] for _, workload, _, _ in ours}
    budgets = {doc["metadata"]["name"]: doc["spec"] for doc in of_kind(docs, "PodDisruptionBudget")}
    assert set(budgets) == names == {"plan-worker", "prepare-worker", "embed-worker", "search-worker", "api"}
    assert {budget["maxUnavailable"] for budget in budgets.values()} == {1}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_outside_reaches_flower_or_a_worker_but_the_collector_of_metrics(overlay: str) -> None:
    docs = render(overlay)
    assert named(docs, "NetworkPolicy", "deny-all")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    for name in ("pictor", "flower"):
        [rule] = named(docs, "NetworkPolicy", name)["spec"]["ingress"]
        assert rule["from"] == [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ]
    assert of_kind(docs, "Ingress") == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_a_gateway_reaches_the_service_and_only_the_service(overlay: str) -> None:
    policy = named(render(overlay), "NetworkPolicy", "api")["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    [rule] = policy["ingress"]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}
    ]
    assert [port["port"] for port in rule["ports"]] == ["http"], "the metrics need no key"


def test_a_production_service_is_reached_by_name_and_scraped_once() -> None:
    docs = render("production")
    [route] = of_kind(docs, "HTTPRoute")
    [monitor] = of_kind(docs, "ServiceMonitor")
    [(_, _, template, _)] = api_containers(docs)
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "api", "port": 80}]
    assert monitor["spec"]["endpoints"][0]["relabelings"] == [
        {"targetLabel": "job", "replacement": "pictor-api"}
    ]
    assert "annotations" not in template["metadata"]


def test_with_gpus_embedding_is_staged_and_scales_to_zero() -> None:
    for overlay, device in (("gpu", "nvidia.com/gpu"), ("gpu-mig", "nvidia.com/mig-1g.10gb")):
        docs = render(overlay)
        assert named(docs, "ScaledObject", "embed")["spec"]["minReplicaCount"] == 0
        [container] = [
            container
            for name, _, _, container in worker_containers(docs)
            if name == "Deployment/embed-worker"
        ]
        limits = container["resources"]["limits"]
        assert [name for name in limits if name.startswith("nvidia.com/")] == [device]
        seen = environment(container, docs)
        assert (seen["PICTOR_PREPARATION"], seen["PICTOR_DEVICE"]) == ("staged", "cuda:0")


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_a_worker_asks_for_what_the_benchmark_measured_and_uses_the_cores_that_it_asks_for(
    overlay: str,
) -> None:
    measured = read_result(RESULTS / "scale.json").figure("embed worker at image 50,000")
    assert measured is not None
    assert measured.unit == "MiB"
    docs = render(overlay)
    for name, _, _, container in worker_containers(docs):
        requests, seen = container["resources"]["requests"], environment(container, docs)
        if name == "Deployment/embed-worker":
            assert _mebibytes(requests["memory"]) > measured.median * _children(container)
        if name in ("Deployment/embed-worker", "Deployment/search-worker"):
            assert int(seen["PICTOR_DEVICE_THREADS"]) * _children(container) == int(requests["cpu"]), name
        if name != "Deployment/plan-worker":
            assert seen["PICTOR_DECODE_THREADS"] == requests["cpu"], name


def _children(container: Doc) -> int:
    return int(options_of(container).get("--children", "1"))


def _mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        ("rabbitmq.conf", "rabbitmq/rabbitmq.conf"),
        ("enabled_plugins", "rabbitmq/enabled_plugins"),
        ("embedEtcd.yaml", "milvus/embedEtcd.yaml"),
    ],
)
def test_servers_are_configured_alike_on_one_host_and_in_a_cluster(copy: str, original: str) -> None:
    in_cluster = REPOSITORY / "k8s" / "overlays" / "dev" / copy  # kustomize reads no file outside its folder
    assert in_cluster.read_text() == (REPOSITORY / "deploy" / original).read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_records_are_erased_daily_by_the_owner_of_the_database(overlay: str) -> None:
    job = named(render(overlay), "CronJob", "pictor-audit-retention")
    assert job["spec"]["schedule"].split()[2:] == ["*", "*", "*"], "every day"
    spec = template_of(job)["spec"]
    [container] = spec["containers"]
    assert container["args"] == ["audit", "erase", "--due"]
    [secrets] = [volume["projected"]["sources"] for volume in spec["volumes"] if "projected" in volume]
    owner, store = (source["secret"] for source in secrets)
    assert (owner["name"], store["name"]) == ("pictor-secrets", "pictor-s3-plan")
    assert {item["key"] for item in owner["items"]} == {"PICTOR_LEDGER_URL", "PICTOR_AUDIT_KEY"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_what_sets_up_and_what_erases_has_the_owner_of_the_database(overlay: str) -> None:
    having = {
        title
        for title, _, template in workloads(render(overlay))
        if "pictor-secrets" in str(template["spec"].get("volumes", ()))
    }
    assert having == {"Job/pictor-init", "CronJob/pictor-audit-retention"}
