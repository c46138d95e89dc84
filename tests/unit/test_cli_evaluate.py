"""`pictor evaluate`, from the files to what it prints and writes."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ArgumentError
from pipeline.evaluation.calibration import read_calibration
from pipeline.evaluation.error_rates import read_error_rates
from tests.unit.commands import Output, pictor

PERSONS = 32
HOSTILE = "<b>x|y"  # as the name of a folder, it must stay a name


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patterns of colours and a paler copy of each. One copy is broken, and one image has no folder."""
    folder = tmp_path_factory.mktemp("people")
    generator = np.random.default_rng(1)
    lines = ["path,person,group"]
    for number in range(PERSONS):
        name = HOSTILE if number == 0 else f"p{number:02d}"
        pattern = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        (folder / name).mkdir()
        for copy in (1, 2):
            picture = pattern.resize((96, 96), Image.Resampling.BICUBIC).point(lambda v, by=copy: v // by)
            picture.save(folder / name / f"{copy}.jpg", quality=90 - 30 * copy)
            lines.append(f"{name}/{copy}.jpg,{name},{'even' if number % 2 == 0 else 'odd'}")
    (folder / "p05" / "2.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "alone.jpg").write_bytes((folder / "p01" / "1.jpg").read_bytes())
    (folder / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path / "home"))


def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: Output, *arguments: object) -> dict[str, Any]:
    assert pictor(monkeypatch, "evaluate", *map(str, arguments), "--json") == 0
    return dict(json.loads(capsys.readouterr().out))


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: Output, *arguments: object) -> str:
    assert pictor(monkeypatch, "evaluate", *map(str, arguments)) == 2
    return " ".join(capsys.readouterr().err.split())


def test_json_is_the_document_of_error_rates(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    document = evaluate(monkeypatch, capsys, people, "--at", 0.8, "--fpir", 0.1, "--gallery-size", 1)
    rates = read_error_rates(json.dumps(document), of="out")
    assert (rates.model.name, len(rates.model.fingerprint)) == ("builtin", 64)
    assert (rates.data.persons, rates.data.images, rates.data.failed) == (PERSONS, 2 * PERSONS, 1)
    assert rates.data.unlabelled == 1
    assert [(each.reason, each.images) for each in rates.data.failures] == [("truncated", 1)]
    assert rates.verification.genuine == PERSONS - 1
    assert 0.8 in [errors.threshold for errors in rates.verification.thresholds]
    assert rates.floor is not None
    assert not rates.floor.is_extrapolated
    assert rates.retrieval is not None
    assert rates.retrieval.recall_at_1 > 0.8


def test_subgroups_of_a_csv_file_are_measured_apart(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    document = evaluate(monkeypatch, capsys, people / "people.csv", "--subgroup", "group", "--at", 0.5)
    even, odd = document["subgroups"]
    assert (even["value"], even["persons"], even["images"]) == ("even", PERSONS // 2, PERSONS)
    assert (odd["value"], odd["failure_to_acquire"]["errors"]) == ("odd", 1)
    assert even["verification"][0]["fmr"]["trials"] == PERSONS * (PERSONS - 1) // 2 - PERSONS // 2


def test_a_failed_image_is_a_search_that_misses_unless_it_is_ignored(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    everybody = (people, "--not-enrolled", 0)
    counted = evaluate(monkeypatch, capsys, *everybody)["identification"]
    ignored = evaluate(monkeypatch, capsys, *everybody, "--ignore", "failed")["identification"]
    assert counted["mated_searches"] == PERSONS
    assert ignored["mated_searches"] == PERSONS - 1
    first = [found["thresholds"][0]["fnir"][0]["fnir"]["errors"] for found in (counted, ignored)]
    assert first[0] == first[1] + 1


def test_the_terminal_shows_tables_and_names_what_failed(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert pictor(monkeypatch, "evaluate", str(people)) == 0
    printed = capsys.readouterr()
    for words in ("1:1 comparisons", "1:N searches, open set", "1e-5  not measured: 300000", "FNIR rank 1"):
        assert words in printed.out
    assert "1 of 64 images" in printed.err
    assert "p05/2.jpg: " in printed.err


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "style", "onload")]


def test_the_page_is_whole_by_itself_and_a_name_is_no_markup(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    page, card = tmp_path / "rates.html", tmp_path / "card.md"
    words = "<script>alert(1)</script> | `a`"
    evaluate(monkeypatch, capsys, people, "--html", page, "--card", card, "--description", words)
    elements = Elements()
    elements.feed(page.read_text(encoding="utf-8"))
    assert "script" not in elements.tags
    assert elements.links == []
    assert elements.tags.count("svg") == 3
    assert elements.tags.count("polyline") == 4
    points = re.findall(r'points="([^"]+)"', page.read_text(encoding="utf-8"))
    assert all(0 <= float(n) <= 460 for line in points for n in re.split("[ ,]", line))
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# Error rates of builtin\n")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\| \\`a\\`" in text
    for heading in ("## Data", "## 1:1 comparisons", "## 1:N searches, open set", "## Limits"):
        assert heading in text


def test_a_calibration_is_written_and_says_what_a_similarity_is(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    written = evaluate(monkeypatch, capsys, people, "--calibrate", tmp_path, "--at", 99)
    file = tmp_path / f"{written['model']['fingerprint'][:8]}.calibration.json"
    calibration = read_calibration(file.read_text(encoding="utf-8"), of="file")
    assert written["calibration"] == calibration.version
    read = evaluate(monkeypatch, capsys, people, "--calibration", file, "--at", 80, "--at", 99)
    assert read["calibration"] == calibration.version
    for similarity in (80, 99):
        cosine = calibration.cosine_of(similarity)
        at = [t for t in read["verification"]["thresholds"] if 0 <= t["threshold"] - cosine <= 1e-4]
        assert at[0]["similarity"] == pytest.approx(similarity, abs=0.5)
    assert {errors.similarity for errors in calibration.data.errors} >= {80, 99}


def test_persons_who_are_not_in_the_gallery_are_searched_for_at_80_and_99(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    probes, calibration = tmp_path / "probes", tmp_path / "c.json"
    probes.mkdir()
    twin = (people / "p03" / "1.jpg").read_bytes()
    (probes / "somebody.jpg").write_bytes(twin)
    (probes / "p04").mkdir()
    (probes / "p04" / "own.jpg").write_bytes((people / "p04" / "1.jpg").read_bytes())
    evaluate(monkeypatch, capsys, people, "--calibrate", calibration)
    asked = ("--probes", probes, "--gallery", people, "--calibration", calibration, "--at", 80, "--at", 99)
    found = evaluate(monkeypatch, capsys, *asked)
    assert found["format"] == "pictor.impostor_search/1"
    assert (found["probe_persons"], found["gallery_images"], found["failed_gallery"]) == (2, 64, 1)
    assert found["in_both"] == ["p04"]
    at_80, at_99 = found["found"]
    assert at_80["threshold"] < at_99["threshold"]
    assert (at_99["persons"]["errors"], at_99["persons"]["trials"]) == (1, 2)
    assert at_99["highest"][0]["probe"] == "somebody.jpg"
    assert at_99["highest"][0]["candidate"] == "p03/1.jpg"
    assert at_99["highest"][0]["similarity"] == pytest.approx(100)
    assert pictor(monkeypatch, "evaluate", *map(str, asked)) == 0
    printed = capsys.readouterr().out
    assert "Falsely found" in printed
    assert "somebody.jpg" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give SOURCE, or --probes and --gallery"),
        (["PEOPLE", "--probes", "PEOPLE"], "give SOURCE alone, or --probes and --gallery together"),
        (["--probes", "PEOPLE"], "give SOURCE alone, or --probes and --gallery together"),
        (["--probes", "PEOPLE", "--gallery", "PEOPLE"], "need a threshold, for example --at 80 --at 99"),
        (["--probes", "P", "--gallery", "P", "--html", "x"], "--html needs SOURCE"),
        (["PEOPLE", "--fpir", "0.01"], "--fpir and --gallery-size go together"),
        (["PEOPLE", "--at", "80"], "--at 80 is a similarity"),
        (["PEOPLE", "--at", "-2"], "--at -2 is neither a cosine"),
        (["PEOPLE", "--calibration", "none.json"], "--calibration none.json: No such file"),
        (["PEOPLE", "--calibration", "PEOPLE/people.csv"], "this is not JSON"),
        (["PEOPLE", "--calibrate", "a", "--calibration", "b"], "give one of them"),
        (["PEOPLE", "--html", "PEOPLE"], "Is a directory"),
        (["PEOPLE/p01"], "no image has a label"),
        (["PEOPLE/none"], "does not exist"),
        (["PEOPLE/people.csv", "--person", "who"], "there is no column 'who'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_words(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, arguments: list[str], says: str
) -> None:
    given = [argument.replace("PEOPLE", str(people)) for argument in arguments]
    assert says in refusal(monkeypatch, capsys, *given)


def test_a_calibration_of_another_model_is_refused(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    file = tmp_path / "c.json"
    evaluate(monkeypatch, capsys, people, "--calibrate", file)
    document = json.loads(file.read_text(encoding="utf-8"))
    document["model"]["fingerprint"] = "0e" * 32
    file.write_text(json.dumps(document), encoding="utf-8")
    assert "the version is" in refusal(monkeypatch, capsys, people, "--calibration", file)
    with pytest.raises(ArgumentError):
        read_calibration(file.read_text(encoding="utf-8"), of="c")
