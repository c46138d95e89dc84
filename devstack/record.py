"""The state of one service between commands, in one private file."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devstack.process import ProcessId


@dataclass
class Record:
    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # files and folders outside the stack's directory
    processes: dict[str, ProcessId] = field(default_factory=dict)  # in the order in which they were started
    prepared: bool = False  # configuration and empty data are complete

    @classmethod
    def load(cls, file: Path) -> "Record":
        if not file.exists():
            return cls()
        fields = json.loads(file.read_text())
        fields["processes"] = {name: ProcessId(**process) for name, process in fields["processes"].items()}
        return cls(**fields)

    def save(self, file: Path) -> None:
        """Replace the file in one step: whoever reads it sees the old or the new one."""
        new = file.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(asdict(self), out, indent=1)
        new.replace(file)
