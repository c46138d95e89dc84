"""What every pod must be: unprivileged, pinned, bounded, patient, and watched by files."""

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import SecretStr

from pipeline.api.readiness import LOOK_S
from pipeline.api.serve import STOP_S
from pipeline.api.wake import CLOSE_S
from pipeline.settings import Settings
from tests.deploy.rendered import (
    Doc,
    api_containers,
    containers,
    environment,
    is_pictor,
    of_kind,
    options_of,
    title,
    worker_containers,
    workloads,
)
from workers.broker.celery_config import TASK_HARD_LIMIT_S

GRACE_MARGIN_S = 30  # acknowledging, closing connections
_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_SECRET_SETTINGS = {
    f"PICTOR_{name.upper()}" for name, field in Settings.model_fields.items() if field.annotation is SecretStr
}
_LOGIN_IN_URL = re.compile(r"//[^/\s:@]+:[^/\s:@]+@")


def pod_faults(docs: Sequence[Doc]) -> Iterator[str]:
    for name, _, template in workloads(docs):
        yield from (f"{name}: {fault}" for fault in _privilege_faults(template))
        for container in containers(template):
            faults = [*_container_faults(container), *_password_faults(environment(container, docs))]
            yield from (f"{name}: {container['name']}: {fault}" for fault in faults)
    for doc in of_kind(docs, "ConfigMap"):
        yield from (f"{title(doc)}: {fault}" for fault in _password_faults(doc.get("data", {})))
    yield from (f"{title(doc)}: password: a Secret among the manifests" for doc in of_kind(docs, "Secret"))
    for name, _, template, container in worker_containers(docs):
        yield from (f"{name}: {fault}" for fault in _worker_faults(template, container, docs))
    for name, _, template, container in api_containers(docs):
        yield from (f"{name}: {fault}" for fault in _api_faults(template, container, docs))


def _api_faults(template: Doc, container: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    spec = template["spec"]
    pause_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pause_s < 5:
        yield "grace: it stops while it is still sent requests"
    if spec.get("terminationGracePeriodSeconds", 30) < pause_s + STOP_S + CLOSE_S:
        yield f"grace: {pause_s} s, {STOP_S} s for requests and {CLOSE_S:g} s for the broker are needed"
    if environment(container, docs).get("PICTOR_SERVICE_KEYS") != "required":
        yield "keys: it may be asked by anybody"
    for probe, path in (
        ("startupProbe", "/readyz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/livez"),
    ):
        action = container.get(probe, {})
        if action.get("httpGet", {}).get("path") != path:
            yield f"probe: {probe} does not ask {path}"
        if path == "/readyz" and action.get("timeoutSeconds", 1) <= LOOK_S:
            yield f"probe: {probe} gives up before {path} says what is away"


def _privilege_faults(template: Doc) -> Iterator[str]:
    spec = template["spec"]
    context = spec.get("securityContext", {})
    for word in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(word):
            yield f"privilege: {word}"
    if any("hostPath" in volume for volume in spec.get("volumes", [])):
        yield "privilege: hostPath"
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "privilege: runAsNonRoot and a numeric runAsUser are expected"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "privilege: no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "privilege: a token of the cluster's API"


def _container_faults(container: Doc) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("privileged"):
        yield "privilege: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "privilege: allowPrivilegeEscalation"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "privilege: capabilities"
    if is_pictor(container) and context.get("readOnlyRootFilesystem") is not True:
        yield "privilege: its root filesystem can be written to"
    _, _, tag = container["image"].rpartition("/")[2].partition(":")
    if not tag or "latest" in tag or not any(char.isdigit() for char in tag):
        yield f"image: {container['image']} is not pinned by a tag"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield "resources: requests of cpu and memory are expected"
    if "memory" not in resources.get("limits", {}):
        yield "resources: a limit of memory is expected"


def _password_faults(plain: Mapping[str, str]) -> Iterator[str]:
    for name, value in plain.items():
        is_place = name.endswith(("_FILE", "_DIR")) or value.startswith("/")
        if name in _SECRET_SETTINGS or (value and _SECRET_NAME.search(name) and not is_place):
            yield f"password: {name} in plain sight"
        if _LOGIN_IN_URL.search(value):
            yield f"password: {name} holds a URL with a password"


def _worker_faults(template: Doc, container: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    grace_s = template["spec"].get("terminationGracePeriodSeconds", 30)
    if grace_s < TASK_HARD_LIMIT_S + GRACE_MARGIN_S:
        yield f"grace: {grace_s} s, a task may take {TASK_HARD_LIMIT_S} s"
    home = environment(container, docs).get("PICTOR_HOME", "")
    folder = f"{home}/run/{options_of(container).get('--name')}"
    for probe, file in (
        ("startupProbe", "ready"),
        ("readinessProbe", "ready"),
        ("livenessProbe", "heartbeat"),
    ):
        words = " ".join(container.get(probe, {}).get("exec", {}).get("command", []))
        if f"{folder}/{file}" not in words or "celery" in words:
            yield f"probe: {probe} does not look at {folder}/{file}"
    age = re.search(r"-lt (\d+)", str(container.get("livenessProbe", "")))
    if age is None or int(age[1]) < 300:  # an outage of the broker makes the file grow old, and mends itself
        yield "probe: livenessProbe kills a worker in an outage of the broker"
