"""Reads the text of a model file, and nothing of what it says. So a status needs no torch."""

import re
import tomllib
from pathlib import Path

from pipeline.errors import ModelError


def read_table(path: Path) -> dict[str, object]:
    """The keys of a model file, unchecked. Raises ModelError: no such file, or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ModelError(f"model file {path} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ModelError(f"model file {path} is not UTF-8 text") from err
    except tomllib.TOMLDecodeError as err:
        place = re.search(r"line (\d+), column (\d+)", str(err))
        at = f" at line {place[1]}, column {place[2]}" if place else ""
        raise ModelError(f"model file {path} is not TOML{at}") from err
