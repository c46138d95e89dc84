"""What a command leaves in its home is for nobody else, whatever the shell's umask."""

from dataclasses import replace
from pathlib import Path

from tests.cli import Pictor
from tests.unit.fakes import distinct_png

OPEN_TO_ALL = ("sh", "-c", 'umask 0; exec "$@"', "sh")


def test_nothing_in_the_home_is_for_others(pictor: Pictor, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(distinct_png(1))
    careless = replace(pictor, prefix=OPEN_TO_ALL)
    careless("ingest", tmp_path / "photos")
    parts = [pictor.home, *pictor.home.rglob("*")]
    assert {"milvus.db", "ledger.db", "host", "locks"} <= {path.name for path in parts}
    assert [path for path in parts if path.stat().st_mode & 0o077] == []
