"""deploy/compose.yaml: valid by the Compose specification, and sound by our own rules."""

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import compose_spec
import pytest
import yaml

from deploy.make_secrets import write_secrets
from pipeline.api.serve import STOP_S
from pipeline.api.wake import CLOSE_S
from tests.conftest import REPOSITORY
from tests.deploy.compose import FILE, Service, is_pictor, load, seconds
from tests.deploy.pod_checks import GRACE_MARGIN_S, _password_faults
from workers.broker.celery_config import TASK_HARD_LIMIT_S
from workers.broker.queue_names import EMBED, PREPARE, ROLES

USUAL_SHARES = 1024  # of a container that says nothing
WITHOUT_CHECK = {"init", "load", "sweep"}  # they end by themselves, or are a timer


def test_the_file_has_no_fault() -> None:
    assert list(faults(load())) == []


def faults(project: dict[str, Any]) -> Iterator[str]:
    try:
        compose_spec.PyCompose.from_json(json.dumps(project)).to_spec()
    except ValueError as err:
        yield f"specification: {err}"
        return
    for name, service in project["services"].items():
        found = [*_name_faults(service, project), *_safety_faults(service), *_life_faults(name, service)]
        yield from (f"{name}: {fault}" for fault in found)
    consumed = {queue for service in project["services"].values() for queue in queues_of(service)}
    if consumed != set(ROLES):
        yield f"queues: {sorted(consumed)} are consumed"


def _name_faults(service: Service, project: dict[str, Any]) -> Iterator[str]:
    for kind in ("networks", "secrets", "volumes"):
        for used in service.get(kind, []):
            source = used["source"] if isinstance(used, dict) else used.partition(":")[0]
            if source.startswith("."):
                if not (FILE.parent / source).exists():
                    yield f"volume: {source} is not there"
            elif source not in project[kind]:
                yield f"{kind}: there is no {source}"
    for other in service.get("depends_on", {}):
        if other not in project["services"]:
            yield f"depends_on: there is no {other}"


def _safety_faults(service: Service) -> Iterator[str]:
    tag = service["image"].rpartition(":")[2]
    if tag == service["image"] or "latest" in tag or not any(char.isdigit() for char in tag):
        yield f"image: {service['image']} is not pinned"
    yield from _password_faults({name: str(value) for name, value in service.get("environment", {}).items()})
    yield from (f"port: {port} is open to all" for port in service.get("ports", []) if not _is_loopback(port))
    if service.get("privileged") or service.get("network_mode") == "host":
        yield "privilege"
    if is_pictor(service):
        if service.get("read_only") is not True or service.get("cap_drop") != ["ALL"]:
            yield "privilege: a read-only root and no capabilities are expected"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield "privilege: no-new-privileges"


def _is_loopback(port: object) -> bool:
    return str(port).startswith("127.0.0.1:")


def _life_faults(name: str, service: Service) -> Iterator[str]:
    if "healthcheck" not in service and name not in WITHOUT_CHECK:
        yield "health: it has no check"
    if name != "load" and "memory" not in service.get("deploy", {}).get("resources", {}).get("limits", {}):
        yield "limit: of memory"
    for queue in queues_of(service):
        grace_s = seconds(service.get("stop_grace_period", "10s"))
        if grace_s < TASK_HARD_LIMIT_S + GRACE_MARGIN_S:
            yield f"grace: {grace_s} s, a task on {queue} may take {TASK_HARD_LIMIT_S} s"
        if service.get("depends_on", {}).get("init") != {"condition": "service_completed_successfully"}:
            yield "order: it does not wait for init"
        options = dict(zip(service["command"][1::2], service["command"][2::2], strict=True))
        words = " ".join(service["healthcheck"]["test"])
        if f"/scratch/run/{options['--name']}/" not in words:
            yield "health: it looks at another worker's files"


def test_a_load_has_less_weight_than_what_answers_searches() -> None:
    weights = {name: service.get("cpu_shares", USUAL_SHARES) for name, service in load()["services"].items()}
    loads = {
        name for name, service in load()["services"].items() if {EMBED, PREPARE} & set(queues_of(service))
    }
    assert loads == {"embed", "embed-gpu", "prepare"}
    assert max(weights[name] for name in loads) < min(weights[name] for name in ("api", "milvus", "search"))


def test_the_service_wants_keys_and_is_asked_by_this_machine_alone() -> None:
    api = load()["services"]["api"]
    assert api["command"][0] == "serve"
    assert api["environment"]["PICTOR_SERVICE_KEYS"] == "required"
    assert api["ports"] == ["127.0.0.1:8780:8780"]
    assert seconds(api["stop_grace_period"]) >= STOP_S + CLOSE_S


def queues_of(service: Service) -> list[str]:
    command = service.get("command", [])
    if not is_pictor(service) or command[:1] != ["worker"]:
        return []
    return str(command[command.index("--queues") + 1]).split(",")


def test_the_script_makes_every_secret_that_is_named(tmp_path: Any) -> None:
    made = {str(path.relative_to(tmp_path)) for path in write_secrets(tmp_path)}
    named = {secret["file"].removeprefix("./secrets/") for secret in load()["secrets"].values()}
    assert named <= made


def test_a_secret_is_a_file_of_the_name_that_the_setting_has() -> None:
    project = load()
    for name, service in project["services"].items():
        if is_pictor(service):
            assert service["environment"]["PICTOR_SECRETS_DIR"] == "/run/secrets", name
    for name, secret in project["secrets"].items():
        if name.startswith("PICTOR_"):
            assert secret["file"].endswith(f"/{name}")


def test_what_the_header_says_of_memory_is_so() -> None:
    services = {name: service for name, service in load()["services"].items() if "profiles" not in service}
    limits = [service["deploy"]["resources"]["limits"]["memory"] for service in services.values()]
    total_gib = sum(float(text[:-1]) / {"G": 1, "M": 1024}[text[-1]] for text in limits)
    said = re.search(r"add up to (\d+) GiB", FILE.read_text())
    assert said
    assert round(total_gib) == int(said[1])


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "unknown word": (lambda s: s["plan"].update(restrat="no"), "specification: "),
    "unknown condition": (
        lambda s: s["plan"]["depends_on"]["rabbitmq"].update(condition="service_helthy"),
        "specification: ",
    ),
    "port that is no number": (
        lambda s: s["flower"].update(ports=["127.0.0.1:55x5:5555"]),
        "specification: ",
    ),
    "secret that is not defined": (lambda s: s["plan"]["secrets"].append("PICTOR_X"), "plan: secrets: "),
    "volume that is not defined": (lambda s: s["plan"].update(volumes=["modles:/models"]), "plan: volumes: "),
    "file that is not there": (
        lambda s: s["rabbitmq"].update(volumes=["./rabbitmq/rabbit.conf:/x:ro"]),
        "rabbitmq: volume: ./rabbitmq/rabbit.conf",
    ),
    "order after nothing": (lambda s: s["plan"].update(depends_on={}), "plan: order: "),
    "latest": (lambda s: s["postgres"].update(image="postgres:latest"), "postgres: image: "),
    "no tag": (lambda s: s["postgres"].update(image="postgres"), "postgres: image: "),
    "password": (
        lambda s: s["postgres"]["environment"].update(POSTGRES_PASSWORD="x"),
        "postgres: password: POSTGRES_PASSWORD",
    ),
    "open port": (lambda s: s["rabbitmq"].update(ports=["15672:15672"]), "rabbitmq: port: "),
    "privileged": (lambda s: s["milvus"].update(privileged=True), "milvus: privilege"),
    "root filesystem": (lambda s: s["embed"].update(read_only=False), "embed: privilege: "),
    "short grace": (lambda s: s["embed"].update(stop_grace_period="10m"), "embed: grace: 600 s"),
    "no health check": (lambda s: s["milvus"].pop("healthcheck"), "milvus: health: "),
    "no limit": (lambda s: s["milvus"].pop("deploy"), "milvus: limit: "),
    "queue": (
        lambda s: s["plan"].update(command=["worker", "--queues", "paln", "--name", "worker"]),
        "queues: ",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str) -> None:
    change, said = MISTAKES[mistake]
    project = deepcopy(load())
    change(project["services"])
    found = list(faults(project))
    assert any(fault.startswith(said) for fault in found), found


def test_stray_dollars_are_no_variables() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert re.findall(r"(?<!\$)\$(?![${])|\$\{(?![A-Z][A-Z0-9_]*:-)", text) == []
    assert (REPOSITORY / "deploy" / "Dockerfile").is_file()


def test_prometheus_asks_every_kind_of_worker_where_it_answers() -> None:
    services = load()["services"]
    asked = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yml").read_text())
    [where] = next(job for job in asked["scrape_configs"] if job["job_name"] == "pictor-workers")[
        "dns_sd_configs"
    ]
    assert set(where["names"]) == {name for name, service in services.items() if queues_of(service)}
    [api] = next(job for job in asked["scrape_configs"] if job["job_name"] == "pictor-api")["dns_sd_configs"]
    assert [name for name in api["names"] if services[name]["command"][0] == "serve"] == api["names"]
    for found in (where, api):
        ports = {services[name]["environment"]["PICTOR_METRICS_PORT"] for name in found["names"]}
        assert ports == {str(found["port"])}
