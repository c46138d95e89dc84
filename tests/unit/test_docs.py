"""The pages: links lead somewhere, tables that mirror the code are whole, figures are the last measured."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from benchmarks.figures import read_results
from benchmarks.part import RESULTS
from benchmarks.render import README, with_figures
from pipeline.cli.app import app
from pipeline.types import Reason
from tests.conftest import REPOSITORY

PAGES = sorted(
    page
    for page in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("k8s/*.md")]
    if page.is_file()
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_PATH = re.compile(
    r"`?\b((?:docs|pipeline|workers|tests|deploy|k8s|benchmarks|devstack)/[\w./-]+\.(?:md|py|yaml))\b"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_path_of_the_project_that_a_page_names_is_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # tells of files that have moved since
        return
    for name in _PATH.findall(page.read_text(encoding="utf-8")):
        assert (REPOSITORY / name).exists(), f"{page.name} names {name}"


def test_the_page_of_reasons_has_each_reason_once() -> None:
    text = (REPOSITORY / "docs" / "reference" / "reasons.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [reason.value for reason in Reason]


def test_the_readme_has_the_figures_that_were_measured_last() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == with_figures(text, read_results(RESULTS)["end_to_end"]), "run: python -m benchmarks.render"


def test_the_readme_lists_each_extra_with_what_it_includes() -> None:
    text = README.read_text(encoding="utf-8")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    included = {
        name: next(
            (re.findall(r"[\w-]+", needed)[1:] for needed in needs if needed.startswith("pictor[")), []
        )
        for name, needs in project["optional-dependencies"].items()
        if name != "dev"
    }
    listed = re.findall(r"^\| `(\w+)` \|[^|]+\|([\w`, ]*)\|$", text, re.MULTILINE)
    assert {name: re.findall(r"\w+", includes) for name, includes in listed} == included


_COMMAND = re.compile(r"(?:`|\$ |\| |^)pictor ((?:[a-z-]+ ?)+[^`\n|#]*)", re.MULTILINE)


def unknown_in_commands(text: str) -> list[str]:
    """Words and options after `pictor` that the command line does not have."""
    found = []
    for line in _COMMAND.findall(text):
        command, words = get_command(app), line.split()
        while words and isinstance(command, TyperGroup) and re.fullmatch("[a-z][a-z-]*", words[0]):
            name = words.pop(0)
            if name not in command.commands:
                found.append(name)
                break
            command = command.commands[name]
        else:
            known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            given = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
            found += sorted(given - known - {"--help"})
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_of_a_page_is_there_with_its_options(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # tells of commands as they were
        return
    assert unknown_in_commands(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`pictor keys create me --role admin`", []),
        ("`pictor keys make me`", ["make"]),
        ("$ pictor serve --keys --port 1", []),
        ("$ pictor serve --key", ["--key"]),
        ("pictor audit prove RECEIPT --output x", ["--output"]),
        ("`pictor collections drop-generation c 1 --no`", ["--no"]),
        ("`pictor jobs`", []),
    ],
)
def test_a_command_that_is_not_there_is_found(text: str, found: list[str]) -> None:
    assert unknown_in_commands(text) == found


_OF_TESTS = {"PICTOR_FLOWER_PORT", "PICTOR_RABBITMQ_API"}  # devstack writes them into stack.env
_SETTING = re.compile(r"\bPICTOR_[A-Z0-9_]*[A-Z0-9]\b(?!_)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_setting_that_a_page_names_is_there(page: Path) -> None:
    if page.name in ("CHANGELOG.md", "CONTRIBUTING.md"):  # settings that were, and those of the tests
        return
    listed = (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    named = set(_SETTING.findall(page.read_text(encoding="utf-8")))
    assert named - set(_SETTING.findall(listed)) - _OF_TESTS == set()


_SECRET_VARIABLES = (
    "PICTOR_BROKER_URL PICTOR_LEDGER_URL PICTOR_RABBITMQ_API PICTOR_MILVUS_TOKEN PICTOR_S3_SECRET_KEY "
    "AWS_SECRET_ACCESS_KEY PASSWORD PGPASSWORD"
).split()
_NO_PROGRAMS = {"echo", "printf", "read", "export", "eval", "wait", "kill", "umask"}  # the shell itself
_KEYWORDS = {"until", "while", "do", "if", "then", "!"}
_QUOTED = r"""(?:"(?:\\.|[^"\\])*"|'[^']*')"""
_IN_BRACKETS = r"\((?:[^()]|\([^()]*\))*\)"
_ASSIGNMENT = re.compile(rf"\b([A-Za-z_]\w*)=({_QUOTED}|\${_IN_BRACKETS}|[^\s;]*)")
_GIVEN_BY_PIPE = re.compile(rf"<<< {_QUOTED}|<{_IN_BRACKETS}")


def _expansions(name: str) -> str:
    """As a pattern. What only leaves the host or the path of a URL holds no secret."""
    return rf"\$(?:{name}\b|\{{{name}(?!##)[^}}]*\}})"


def secrets_in_arguments(commands: list[str]) -> list[str]:
    """Commands that put a secret where `ps` shows it to every user: into the arguments of a program."""
    secret, functions, found = set(_SECRET_VARIABLES), set(_NO_PROGRAMS), []
    for command in commands:
        functions |= set(re.findall(r"(\w+)\(\) ?\{", command))
        for name, value in _ASSIGNMENT.findall(command):
            if "rand -hex 20" in value or any(re.search(_expansions(other), value) for other in secret):
                secret.add(name)
        for part in re.split(r"[;|&]+", _GIVEN_BY_PIPE.sub("", _ASSIGNMENT.sub("", command))):
            words = [word for word in part.split() if word not in _KEYWORDS]
            is_shown = any(re.search(_expansions(name), part) for name in secret)
            if is_shown and words[0] not in functions:
                found.append(command)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_documented_command_shows_a_password_to_every_user_of_the_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^(?:\$ |    (?=[a-z]))(.+)$", text, re.MULTILINE)
    assert secrets_in_arguments(commands) == []


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        (['psql "$PICTOR_LEDGER_URL"'], 1),
        (['LEDGER="${PICTOR_LEDGER_URL/+psycopg/}"', 'pg_dump "$LEDGER"'], 1),
        (['URL="${PICTOR_RABBITMQ_API}queues"', "until curl -sS $URL; do sleep 1; done"], 1),
        (['URL="${PICTOR_RABBITMQ_API}queues"', "curl -sS $URL | grep x"], 1),
        (['NEXT="$(openssl rand -hex 20)"', 'curl -u "me:$NEXT" http://x'], 1),
        (['curl --config <(echo "user = $PASSWORD") http://x'], 0),
        (["psql <<< \"CREATE ROLE x PASSWORD '$PASSWORD'\""], 0),
        (['PICTOR_LEDGER_URL="$PICTOR_LEDGER_URL" pictor doctor'], 0),
        (['echo "$PASSWORD" > file'], 0),
        (['ask() { curl --config <(echo "$1"); }', 'ask "$PASSWORD"'], 0),
        (['createdb "${PICTOR_LEDGER_URL##*/}"'], 0),
    ],
)
def test_a_secret_is_found_among_arguments(commands: list[str], found: int) -> None:
    assert len(secrets_in_arguments(commands)) == found


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
