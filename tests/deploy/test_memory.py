"""Each container's limit of memory is enough for the threads that its role chooses on a large host."""

from collections.abc import Iterator

import pytest

from pipeline.capacity import Load, Threads, fit_threads, needed_bytes
from pipeline.cgroup import Share
from pipeline.ports import ImageLimits
from pipeline.settings import Settings
from tests.deploy.compose import is_pictor, load
from tests.deploy.rendered import OVERLAYS, containers, environment, options_of, render, workloads
from tests.deploy.rendered import is_pictor as is_pictor_container
from tests.deploy.test_room import in_bytes

CORES = 32  # of the host, or the node: no container has a limit of CPUs
LIMITS = ImageLimits()

# Name, environment, command and its options, limit of memory in bytes.
Container = tuple[str, dict[str, str], dict[str, str], int]


def compose_containers() -> Iterator[Container]:
    for name, service in load().get("services", {}).items():
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        is_flower = service.get("entrypoint", [""])[0] == "celery"  # it decodes nothing
        if is_pictor(service) and not is_flower and limits:
            options = options_of({"args": service.get("command", [""])})
            yield name, service["environment"], options, in_bytes(limits["memory"])


def pod_containers(overlay: str) -> Iterator[Container]:
    docs = render(overlay)
    for name, _, template in workloads(docs):
        for container in filter(is_pictor_container, containers(template)):
            env = environment(container, docs)
            if "PICTOR_MILVUS_URI" in env:  # Flower has no settings
                yield name, env, options_of(container), in_bytes(container["resources"]["limits"]["memory"])


def settings_of(env: dict[str, str]) -> Settings:
    known = {name.removeprefix("PICTOR_").lower(): value for name, value in env.items()}
    return Settings.model_validate(
        {name: known[name] for name in ("decode_threads", "fetch_threads") if name in known}
    )


@pytest.mark.parametrize("where", ["compose", *OVERLAYS])
def test_the_worst_images_of_all_threads_fit_into_the_limit(where: str) -> None:
    found = list(compose_containers() if where == "compose" else pod_containers(where))
    assert len(found) >= 6
    for name, env, options, limit_bytes in found:
        assert needed_bytes(LIMITS, Threads(fetch=1, decode=1), Load()) <= limit_bytes, name  # as doctor says
        children = int(options.get("--children", "1"))
        has_model = not {"embed", "search"}.isdisjoint(options.get("--queues", "").split(","))
        of_worker = Load(processes=children, batches=children, is_trained=has_model)
        threads = fit_threads(
            settings_of(env), LIMITS, Share(cores=CORES, memory_bytes=limit_bytes), of_worker
        )
        assert needed_bytes(LIMITS, threads, of_worker) <= limit_bytes, name


@pytest.mark.parametrize("role", ["embed", "prepare"])
def test_a_worker_of_compose_has_memory_for_more_than_one_decode(role: str) -> None:
    [(_, env, _, limit_bytes)] = [found for found in compose_containers() if found[0] == role]
    share = Share(cores=CORES, memory_bytes=limit_bytes)
    assert fit_threads(settings_of(env), LIMITS, share, Load(is_trained=role == "embed")).decode >= 4
