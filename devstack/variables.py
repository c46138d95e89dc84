"""The file of addresses and passwords that `up` leaves behind, for shells and for the tests."""

import os
from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "stack.env"

_HEADER = "# Addresses and passwords of the local services, for `. stack.env`. Written by devstack.\n"


def write(file: Path, variables: Mapping[str, str]) -> None:
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(_HEADER)
        out.writelines(f"export {name}={_quote(value)}\n" for name, value in variables.items())
    new.replace(file)


def _quote(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
