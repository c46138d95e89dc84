"""The first key of a deployment, which makes all others. `pictor init` makes it once, when asked."""

import os
from pathlib import Path

from pipeline import wiring
from pipeline.cli.output import note, write_line
from pipeline.cli.recording import open_accountability
from pipeline.errors import ArgumentError
from pipeline.ports import KeyBook
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.keys import MadeKey, create_first_key
from pipeline.settings import Settings

HAS_KEYS = "keys: there are some already; `pictor keys create NAME --role admin` makes another admin's"


def hand_out_first_key(settings: Settings, file: Path | None) -> None:
    """Print the key, or write it to a file that only its owner may read.

    Raises:
        ArgumentError: the file is there, or cannot be made. No key was made.
    """
    with (
        wiring.open_ledger(settings) as ledger,
        open_accountability(settings, ledger.policies) as answers_to,
    ):
        if ledger.keys.list_keys():
            write_line(HAS_KEYS)
        elif file is not None:
            _write(file, ledger.keys, answers_to)
        elif made := create_first_key(ledger.keys, answers_to, local_caller()):
            write_line(f"keys: {made.key.key_id} of role admin, which is not shown again")
            write_line(made.text)
        else:
            write_line(HAS_KEYS)  # another process was faster


def _write(file: Path, keys: KeyBook, answers_to: Accountability) -> None:
    """The file comes first: a key that can be handed to nobody would be the first one for ever."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as err:
        raise ArgumentError(f"--admin-key-file {file}: {err.strerror}; no key was made") from err
    with os.fdopen(descriptor, "w") as opened:
        made: MadeKey | None = create_first_key(keys, answers_to, local_caller())
        if made is not None:
            opened.write(f"{made.text}\n")
    if made is None:
        file.unlink()
        write_line(HAS_KEYS)
    else:
        write_line(f"keys: {made.key.key_id} of role admin")
        note(f"its text is in {file}")
