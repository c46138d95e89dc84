"""The manifests of an overlay as `kubectl apply -k` sends them, and ways through them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY

Doc = dict[str, Any]
Labels = Mapping[str, str]

OVERLAYS = ("dev", "production", "gpu", "gpu-mig")
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob")
_KUBECTL = Path(sys.executable).parent / "kubectl"  # kustomize is part of it; a dependency of the dev extra


def render(overlay: str) -> list[Doc]:
    """A copy that the caller may change."""
    return deepcopy(_render(overlay))


@cache
def _render(overlay: str) -> list[Doc]:
    folder = REPOSITORY / "k8s" / "overlays" / overlay
    done = subprocess.run(
        [str(_KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [doc for doc in yaml.safe_load_all(done.stdout) if doc]


def of_kind(docs: Sequence[Doc], *kinds: str) -> list[Doc]:
    return [doc for doc in docs if doc["kind"] in kinds]


def named(docs: Sequence[Doc], kind: str, name: str) -> Doc:
    """Also finds a ConfigMap by its name without the hash."""
    [doc] = [
        doc
        for doc in of_kind(docs, kind)
        if doc["metadata"]["name"] == name or doc["metadata"]["name"].startswith(f"{name}-")
    ]
    return doc


def title(doc: Doc) -> str:
    return f"{doc['kind']}/{doc['metadata']['name']}"


def template_of(workload: Doc) -> Doc:
    """The pod template of any kind of workload."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Doc = spec["template"]
    return template


def workloads(docs: Sequence[Doc]) -> Iterator[tuple[str, Doc, Doc]]:
    """Title, workload and pod template."""
    for doc in of_kind(docs, *WORKLOADS):
        yield title(doc), doc, template_of(doc)


def containers(template: Doc) -> list[Doc]:
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def is_pictor(container: Doc) -> bool:
    image: str = container["image"]
    return image.rpartition(":")[0].rpartition("/")[2] == "pictor"


def options_of(container: Doc) -> dict[str, str]:
    """`[worker, --queues, embed]` as {"": "worker", "--queues": "embed"}."""
    command, *rest = container.get("args", [""])
    pairs = zip(rest[::2], rest[1::2], strict=True) if command == "worker" else ()
    return {"": command, **dict(pairs)}


def worker_containers(docs: Sequence[Doc]) -> Iterator[tuple[str, Doc, Doc, Doc]]:
    """Title, workload, template and container of each that runs `pictor worker`."""
    for name, workload, template in workloads(docs):
        for container in containers(template):
            if is_pictor(container) and options_of(container)[""] == "worker":
                yield name, workload, template, container


def api_containers(docs: Sequence[Doc]) -> Iterator[tuple[str, Doc, Doc, Doc]]:
    """The same of `pictor serve`."""
    for name, workload, template in workloads(docs):
        for container in containers(template):
            if is_pictor(container) and container.get("args", [""])[0] == "serve":
                yield name, workload, template, container


def environment(container: Doc, docs: Sequence[Doc]) -> dict[str, str]:
    """What the container is given in plain sight: its ConfigMaps, then its own variables."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        maps = {doc["metadata"]["name"]: doc.get("data", {}) for doc in of_kind(docs, "ConfigMap")}
        found |= maps.get(source.get("configMapRef", {}).get("name", ""), {})
    return found | {item["name"]: item.get("value", "") for item in container.get("env", [])}


def selects(selector: Labels, labels: Labels) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())
