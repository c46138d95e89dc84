"""What the tests read: the pictures of this repository, and large sets where they are found."""

import os
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHIPPED = REPOSITORY / "tests" / "data"


def large_sets() -> Path | None:
    """Real photographs, labelled pictures, hostile files and weights. They are not part of the project.

    Raises:
        NotADirectoryError: PICTOR_TEST_DATA names no folder.
    """
    named = os.environ.get("PICTOR_TEST_DATA")
    folder = Path(named or REPOSITORY / ".." / "shared" / "data").resolve()
    if folder.is_dir():
        return folder
    if named:
        raise NotADirectoryError(f"PICTOR_TEST_DATA: {folder} is no folder")
    return None


def photograph_sets() -> Mapping[str, Path]:
    """Folders of JPEGs by name: `shipped` always, `large` where it is found."""
    large = large_sets()
    return {"shipped": SHIPPED / "photos"} | ({"large": large / "photos"} if large else {})
