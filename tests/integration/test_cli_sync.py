"""What the commands say of objects that have vanished, with a folder and Milvus Lite."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.unit.fakes import distinct_png

Output = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("PICTOR_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path / "home"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.png").write_bytes(distinct_png(number))
    return folder


def pictor(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pictor", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def last_json(capsys: Output) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_folder_is_followed_and_nothing_goes_by_mistake(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    source = str(photos)
    assert pictor(monkeypatch, "ingest", source) == 0
    for number in range(5):
        (photos / f"{number}.png").unlink()
    (photos / "new.png").write_bytes(distinct_png(20))
    capsys.readouterr()

    assert pictor(monkeypatch, "ingest", source, "--dry-run", "--json") == 1
    outlook = last_json(capsys)
    assert (outlook["new"], outlook["vanished"], outlook["unchanged"]) == (1, 5, 5)
    assert outlook["first_keys"]["vanished"] == [f"{n}.png" for n in range(5)]  # type: ignore[index]

    assert pictor(monkeypatch, "ingest", source, "--json") == 1
    said = capsys.readouterr()
    counts = json.loads(said.out.splitlines()[-1])
    assert (counts["indexed"], counts["removed"], counts["pending"]) == (1, 0, 0)
    assert "5 of 10 indexed objects" in said.err
    assert "--max-delete-share 1" in said.err

    assert pictor(monkeypatch, "ingest", source, "--max-delete-share", "1", "--json") == 0
    assert last_json(capsys)["removed"] == 5
    assert pictor(monkeypatch, "verify", "images") == 0
    assert capsys.readouterr().out == "images: 6 images compared, 0 differ\n"

    for path in photos.iterdir():
        path.unlink()
    assert pictor(monkeypatch, "ingest", source) == 2
    assert "Is it mounted?" in capsys.readouterr().err
    assert pictor(monkeypatch, "ingest", source, "--keep-missing") == 0
    assert pictor(monkeypatch, "jobs", "list", "--limit", "1") == 0
    assert "removed" in capsys.readouterr().out
