"""A command that needs no model does not pay for one: torch and torchvision cost two seconds of CPU.

A search by a stored id is in tests/contract/test_folder_index.py, as it needs an index.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.loaded_packages import loaded_packages


def test_what_is_imported_is_seen(tmp_path: Path) -> None:
    assert loaded_packages(tmp_path, "--version", before="import PIL") == {"PIL"}


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "ingest --help",
        "jobs list --help",
        "models show builtin",
        "audit --help",
        "collections list",  # of a home that holds no index yet
    ],
)
def test_a_command_without_images_and_jobs_imports_nothing_heavy(tmp_path: Path, command: str) -> None:
    assert loaded_packages(tmp_path, *command.split()) == set()


@pytest.mark.parametrize("command", ["jobs list", "ingest {folder} --dry-run"])
def test_a_command_about_jobs_imports_the_ledger_alone(tmp_path: Path, command: str) -> None:
    words = command.format(folder=tmp_path / "photos").split()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"never read")
    assert loaded_packages(tmp_path / "home", *words) == {"sqlalchemy"}


BESIDE = """
import atexit, sys
known = ["numpy", "pydantic_settings", "pipeline.settings", "pipeline.wiring", "pipeline.ports"]
atexit.register(lambda: print("loaded:", *(name for name in known if name in sys.modules), file=sys.stderr))
from pipeline.cli import main
main()
"""


@pytest.mark.parametrize(
    "command",
    [
        "search 0000",
        "collections list",
        "jobs list",
        "ingest .",
        "faces detect {file}",
        "faces compare {file} {file}",
    ],
)
def test_a_command_for_a_running_service_loads_neither_settings_nor_arrays(
    tmp_path: Path, command: str
) -> None:
    """It starts in the time of a search. Nothing listens here: it ends when it has asked."""
    environment = {"PICTOR_HOME": str(tmp_path), "HOME": str(tmp_path), "PICTOR_API": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, *command.format(file=__file__).split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
        env=environment,
    )
    assert done.stderr.splitlines()[-1] == "loaded:", done.stderr
    assert done.returncode in (1, 2), done.stderr


FITTING = """
import sys
from pipeline.cli.output import note, write_table
note("1 hits")
write_table(("score", "key"), [("0.9000", "a.jpg")])
sys.exit("rich.console" in sys.modules)
"""


def test_a_table_that_fits_loads_no_library_for_tables() -> None:
    """It would take a quarter of the time of a search through a running service."""
    done = subprocess.run(
        [sys.executable, "-c", FITTING], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "score   key  \n0.9000  a.jpg\n"), done.stderr


def test_a_search_through_a_service_makes_no_types_of_rows_and_records() -> None:
    """They are 80 classes, which take a sixth of the time of such a command."""
    program = "import sys, pipeline.cli.search_there; sys.exit('pipeline.types' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0


def test_the_models_that_a_file_names_are_known_without_torch() -> None:
    """`jobs show` counts them."""
    program = "import sys, pipeline.adapters.models.beside; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0
