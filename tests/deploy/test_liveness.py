"""A worker that hangs is found by the age of its heartbeat, also after the clock was set to another hour."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.deploy.rendered import containers, named, render, template_of

FOLDER = "/scratch/run/worker"
HOUR_S = 3600


def cluster_probe() -> str:
    [container] = containers(template_of(named(render("production"), "Deployment", "plan-worker")))
    command: list[str] = container["livenessProbe"]["exec"]["command"]
    assert command[:2] == ["sh", "-c"]
    return command[2]


def host_probe() -> str:
    services = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text(encoding="utf-8"))[
        "services"
    ]
    kind, command = services["plan"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    return str(command).replace("$$", "$")


@pytest.mark.parametrize(
    ("age_s", "lives"), [(0, True), (20, True), (-20, True), (HOUR_S, False), (-HOUR_S, False), (None, False)]
)
@pytest.mark.parametrize("probe", [cluster_probe, host_probe])
def test_a_heartbeat_is_young_or_its_worker_hangs(
    probe: Callable[[], str], age_s: int | None, lives: bool, tmp_path: Path
) -> None:
    (tmp_path / "ready").touch()
    if age_s is not None:
        (tmp_path / "heartbeat").touch()
        os.utime(tmp_path / "heartbeat", (time.time() - age_s,) * 2)
    command = probe().replace(FOLDER, str(tmp_path))
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=10)
    assert (done.returncode == 0) == lives, done.stderr
