"""Each container's own folder has the room that `pictor doctor` wants of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.doctor import wanted_bytes
from pipeline.settings import Settings
from tests.deploy.compose import is_pictor, load
from tests.deploy.rendered import OVERLAYS, containers, environment, render, workloads
from tests.deploy.rendered import is_pictor as is_pictor_container

HOME = "/scratch"  # PICTOR_HOME of the image
UNITS = {"m": 2**20, "g": 2**30, "M": 2**20, "G": 2**30, "Mi": 2**20, "Gi": 2**30}


def in_bytes(quantity: str) -> int:
    digits = quantity.rstrip("MGimg")
    return int(digits) * UNITS[quantity[len(digits) :]]


def compose_rooms() -> Iterator[tuple[str, dict[str, str], int]]:
    for name, service in load()["services"].items():
        if is_pictor(service):
            env = service["environment"]
            [options] = [
                mount.partition(":")[2] for mount in service["tmpfs"] if mount.startswith(f"{HOME}:")
            ]
            [size] = [option[5:] for option in options.split(",") if option.startswith("size=")]
            yield name, env, in_bytes(size)


def pod_rooms(overlay: str) -> Iterator[tuple[str, dict[str, str], int]]:
    docs = render(overlay)
    for name, _, template in workloads(docs):
        rooms: dict[str, Any] = {
            volume["name"]: volume["emptyDir"]["sizeLimit"]
            for volume in template["spec"].get("volumes", [])
            if "emptyDir" in volume
        }
        for container in filter(is_pictor_container, containers(template)):
            env = environment(container, docs)
            [volume] = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == HOME]
            if "PICTOR_MILVUS_URI" in env:  # Flower has no settings, and doctor nothing to examine there
                yield name, env, in_bytes(rooms[volume])


def settings_of(env: dict[str, str]) -> Settings:
    return Settings(home=Path(HOME), milvus_uri=env["PICTOR_MILVUS_URI"])


@pytest.mark.parametrize("where", ["compose", *OVERLAYS])
def test_a_container_has_the_room_that_doctor_wants(where: str) -> None:
    rooms = list(compose_rooms() if where == "compose" else pod_rooms(where))
    assert len(rooms) >= 6
    assert [name for name, env, room in rooms if room < wanted_bytes(settings_of(env)) * 1.2] == []
