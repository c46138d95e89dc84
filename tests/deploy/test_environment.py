"""Variables in deploy/ and k8s/ against the settings: none that is unknown, and none forgotten."""

import re
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from docs.make_settings import _variables
from pipeline.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.compose import is_pictor, load
from tests.deploy.dockerfile import parse
from tests.deploy.rendered import OVERLAYS, api_containers, environment, named, render, worker_containers

SETTINGS = {_variables(name, field)[0] for name, field in Settings.model_fields.items()}
SECRETS = {
    _variables(name, field)[0]
    for name, field in Settings.model_fields.items()
    if field.annotation is SecretStr
}


def ours(names: Iterator[str] | dict[str, str]) -> set[str]:
    return {name for name in names if name.startswith("PICTOR_")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_of_a_pod_is_a_setting(overlay: str) -> None:
    docs = render(overlay)
    given: set[str] = set()
    for _, _, _, container in (*worker_containers(docs), *api_containers(docs)):
        given |= ours(environment(container, docs))
    assert given - SETTINGS == set()


def test_every_variable_of_a_service_is_a_setting() -> None:
    given: set[str] = set()
    for service in load()["services"].values():
        if is_pictor(service):
            given |= ours(service["environment"])
    assert given - SETTINGS == set()


def test_every_variable_of_the_image_is_a_setting() -> None:
    given = {word.partition("=")[0] for step in parse() if step.name == "ENV" for word in step.words}
    assert ours(iter(given)) - SETTINGS == set()


def test_every_secret_that_is_made_is_a_secret_setting(secret_keys: dict[str, set[str]]) -> None:
    assert secret_keys["pictor-secrets"] <= SECRETS
    assert secret_keys["pictor-api"] <= SECRETS


def test_every_setting_is_configured_or_said_not_to_be(secret_keys: dict[str, set[str]]) -> None:
    docs = render("production")
    configured = set(named(docs, "ConfigMap", "pictor-config")["data"])
    configured |= secret_keys["pictor-secrets"] | secret_keys["pictor-api"]
    for _, _, _, container in (*worker_containers(docs), *api_containers(docs)):
        configured |= {item["name"] for item in container["env"]}
    left_out = _settings_left_out()
    assert SETTINGS - configured - left_out == set(), "neither configured nor in k8s/README.md"
    assert left_out & configured == set(), "k8s/README.md says that these are not configured"
    assert left_out - SETTINGS == set()


def _settings_left_out() -> set[str]:
    """The first cells of the table of k8s/README.md that says why."""
    text = (REPOSITORY / "k8s" / "README.md").read_text(encoding="utf-8")
    table = text.partition("| setting | why you need not set it |\n")[2].partition("\n\n")[0]
    return {name for row in table.splitlines() for name in re.findall(r"`(PICTOR_\w+)`", row.split("|")[1])}
