"""The Dockerfile as far as reading goes; test_image.py runs its steps."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deploy.dockerfile import FILE, parse, stages, steps_of

TARGETS = ("cpu", "cuda")


def test_a_linter_finds_nothing() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "hadolint"), str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_build_fetches_no_syntax_of_its_own() -> None:
    """BuildKit would ask a registry for it, where there may be none."""
    assert not [line for line in FILE.read_text().splitlines() if re.match(r"#\s*syntax\s*=", line)]


def test_bases_are_pinned_by_a_tag() -> None:
    steps = parse()
    [tag] = [step.text.partition("=")[2] for step in steps if step.stage == "" and step.name == "ARG"]
    assert tag == "3.11.13-slim-bookworm"
    outside = {base for base in stages(steps).values() if base not in stages(steps)}
    assert outside == {"python:${PYTHON_TAG}"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_pictor_as_a_numbered_user(target: str) -> None:
    steps = steps_of(target, parse())
    last = {step.name: step.text for step in steps}
    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == '["pictor"]'  # a list: no shell stands between SIGTERM and Pictor
    assert "org.opencontainers.image.version" in last["LABEL"]
    names = [step.name for step in steps]
    assert "RUN" not in names[names.index("USER") :]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_the_finished_folder_leaves_the_build(target: str) -> None:
    steps = steps_of(target, parse())
    assert [step.text for step in steps if step.name == "COPY"] == ["--from=build /opt/pictor /opt/pictor"]
    assert not any("install" in step.words and "pip" in step.words for step in steps)
    assert any(step.words[:2] == ["pip", "uninstall"] for step in steps)


def test_the_image_is_installed_from_the_pinned_versions() -> None:
    runs = [step.text for step in parse() if step.stage == "build" and step.name == "RUN"]
    [dependencies, sources] = [text for text in runs if " install " in text]
    assert "-c constraints.txt" in dependencies
    assert '".[${EXTRAS}]"' in dependencies
    assert "EXTRAS=worker,service" in [step.text for step in parse() if step.name == "ARG"]
    assert "--no-deps" in sources


def test_the_version_is_the_package_s() -> None:
    [label] = [step.text for step in parse() if step.name == "ARG" and step.text.startswith("VERSION=")]
    assert label == f"VERSION={version('pictor')}"
    for name in ("deploy/compose.yaml", "k8s/base/worker/deployment.yaml"):
        assert f"pictor:{version('pictor')}-cpu" in (REPOSITORY / name).read_text(encoding="utf-8")


def test_only_what_the_build_copies_is_sent_to_the_builder() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = {
        word.rstrip("/")
        for step in parse()
        if step.name == "COPY" and not step.text.startswith("--from")
        for word in step.words[:-1]
    }
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
