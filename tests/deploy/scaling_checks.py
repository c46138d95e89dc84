"""Queues and what scales on them, held against the workers' own configuration."""

import re
from collections.abc import Iterator, Sequence

from pipeline.api.app import MAX_REQUESTS
from tests.deploy.rendered import (
    Doc,
    api_containers,
    containers,
    of_kind,
    options_of,
    title,
    worker_containers,
    workloads,
)
from tests.promql import exported_metrics, metrics_in
from workers.broker.celery_config import TASK_HARD_LIMIT_S
from workers.broker.queue_names import (
    DEAD,
    FORMER_QUEUES,
    PLAN,
    PUBLIC_QUEUES,
    ROLES,
    consumed_queues,
    model_queues,
)

MODEL = "f5c4f95b"
ALL_QUEUES = (*PUBLIC_QUEUES, *model_queues(MODEL), *FORMER_QUEUES.values(), DEAD, "celery_delayed_3")


def scaling_faults(docs: Sequence[Doc]) -> Iterator[str]:
    consumers: dict[str, list[str]] = {}  # by the name of the Deployment
    for name, workload, _, container in worker_containers(docs):
        consumers[workload["metadata"]["name"]] = options_of(container).get("--queues", "").split(",")
        unknown = set(consumers[workload["metadata"]["name"]]) - set(ROLES)
        if unknown:
            yield f"{name}: queue: {', '.join(sorted(unknown))} is none of ours"
    consumed = {queue for queues in consumers.values() for queue in queues}
    yield from (f"queue: nobody consumes {queue}" for queue in ROLES if queue not in consumed)
    apis = {workload["metadata"]["name"] for _, workload, _, _ in api_containers(docs)}
    scaled = set()
    for doc in of_kind(docs, "ScaledObject"):
        target = doc["spec"]["scaleTargetRef"]["name"]
        scaled.add(target)
        queues = consumers.get(target)
        if target in apis:
            found = [*_pace_faults(doc), *_in_flight_faults(doc)]
        elif queues is None:
            found = [f"scaling: there is no worker {target}"]
        else:
            found = [*_pace_faults(doc), *_backlog_faults(doc, queues)]
        yield from (f"{title(doc)}: {fault}" for fault in found)
    for name in apis:
        if name not in scaled:
            yield f"Deployment/{name}: scaling: it is not scaled"
    deployments = {doc["metadata"]["name"]: doc for doc in of_kind(docs, "Deployment")}
    for name, queues in consumers.items():
        has_number = "replicas" in deployments[name]["spec"]
        if has_number == (name in scaled):
            yield f"Deployment/{name}: scaling: either replicas or a ScaledObject is expected"
        if (queues == [PLAN]) == (name in scaled):
            yield f"Deployment/{name}: scaling: the planner has a number, all others are scaled"
    yield from _device_faults(docs)


def _pace_faults(doc: Doc) -> Iterator[str]:
    spec = doc["spec"]
    if spec["minReplicaCount"] >= spec["maxReplicaCount"]:
        yield "scaling: no room between its bounds"
    if spec["cooldownPeriod"] <= TASK_HARD_LIMIT_S:
        yield f"scaling: to zero after {spec['cooldownPeriod']} s, a task may take {TASK_HARD_LIMIT_S} s"
    if "fallback" not in spec:
        yield "scaling: without a fallback it loses its pods when nobody can say how many are needed"
    down = (
        spec.get("advanced", {})
        .get("horizontalPodAutoscalerConfig", {})
        .get("behavior", {})
        .get("scaleDown", {})
    )
    if down.get("stabilizationWindowSeconds", 0) < 300:
        yield "scaling: it scales down fast"


def _in_flight_faults(doc: Doc) -> Iterator[str]:
    """Of the service, which must never be scaled to zero: nothing would see a request for it."""
    spec = doc["spec"]
    if spec["minReplicaCount"] < 1:
        yield "scaling: nobody answers when there is no pod"
    [trigger] = spec["triggers"]
    unknown = metrics_in(trigger["metadata"].get("query", "")) - exported_metrics()
    if trigger["type"] != "prometheus" or unknown:
        yield f"scaling: it asks for {', '.join(sorted(unknown)) or trigger['type']}, which no service has"
    if int(trigger["metadata"].get("threshold", "0")) not in range(1, MAX_REQUESTS):
        yield f"scaling: a pod turns requests away at {MAX_REQUESTS}"
    if trigger["metadata"].get("ignoreNullValues") != "false":
        yield "scaling: no metrics would look like no requests"


def _backlog_faults(doc: Doc, queues: list[str]) -> Iterator[str]:
    [trigger] = doc["spec"]["triggers"]
    metadata = trigger["metadata"]
    seen = {queue for queue in ALL_QUEUES if _is_seen(queue, metadata)}
    taken = consumed_queues(queues, MODEL, there=FORMER_QUEUES.values())
    if seen != set(taken):
        yield f"queue: it looks at {metadata['queueName']}, its workers take {', '.join(taken)}"
    if metadata.get("protocol") != "http" or metadata.get("excludeUnacknowledged") != "false":
        yield "scaling: messages in flight are not counted"


def _is_seen(queue: str, metadata: dict[str, str]) -> bool:
    """As KEDA asks: the broker looks for an expression anywhere in a name."""
    if metadata.get("useRegex") == "true":
        return re.search(metadata["queueName"], queue) is not None
    return queue == metadata["queueName"]


def _device_faults(docs: Sequence[Doc]) -> Iterator[str]:
    for name, _, template in workloads(docs):
        spec = template["spec"]
        devices = [
            resource
            for container in containers(template)
            for resource in container.get("resources", {}).get("limits", {})
            if resource.startswith("nvidia.com/")
        ]
        tolerated = any(each.get("key") == "nvidia.com/gpu" for each in spec.get("tolerations", []))
        if devices and not (tolerated and spec.get("nodeSelector")):
            yield f"{name}: device: {devices[0]} without a node that has it"
        if devices and not all(container["image"].endswith("-cuda") for container in containers(template)):
            yield f"{name}: device: {devices[0]} without the image for it"
