"""The pages: links lead somewhere, tables that mirror the code are whole, figures are the last measured."""

import re
from pathlib import Path

import pytest

from benchmarks.figures import read_results
from benchmarks.part import RESULTS
from benchmarks.render import README, with_figures
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


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
