"""The tree of commands. The file of a command is imported when it is given: its libraries cost seconds."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from pipeline.cli.output import write_line
from pipeline.logs import configure_logging


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a command, or a group of them, is written. `notes` is the text below its help."""

    module: str
    name: str = "app"
    notes: str = ""


COMMANDS: Mapping[str, Place] = {
    "ingest": Place(module="ingest", name="ingest", notes="NOTES"),
    "search": Place(module="search", name="search"),
    "faces": Place(module="faces"),
    "persons": Place(module="persons"),
    "serve": Place(module="serve", name="serve"),
    "evaluate": Place(module="evaluate", name="evaluate", notes="NOTES"),
    "duplicates": Place(module="duplicates", name="duplicates"),
    "verify": Place(module="verify", name="verify"),
    "doctor": Place(module="doctor", name="doctor"),
    "demo": Place(module="demo", name="demo"),
    "init": Place(module="fleet", name="init"),
    "worker": Place(module="fleet", name="worker"),
    "sweep": Place(module="fleet", name="sweep"),
    "jobs": Place(module="jobs"),
    "collections": Place(module="collections"),
    "mcp": Place(module="mcp", name="mcp"),
    "keys": Place(module="keys"),
    "policies": Place(module="policies"),
    "verifications": Place(module="verifications"),
    "audit": Place(module="audit"),
    "models": Place(module="models"),
    "dead": Place(module="fleet", name="dead_app"),
}


class _Commands(Mapping[str, Any]):
    """Commands by their names, each read when it is first asked for."""

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = _read_command(name, COMMANDS[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _read_command(name: str, place: Place) -> Any:
    module = import_module(f"pipeline.cli.{place.module}")
    written = getattr(module, place.name)
    if isinstance(written, typer.Typer):
        group = typer.main.get_group(written)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name, epilog=getattr(module, place.notes) if place.notes else None)(written)
    return typer.main.get_command(alone)


class _LazyGroup(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast("MutableMapping[str, Any]", _Commands())


app = typer.Typer(
    name="pictor",
    cls=_LazyGroup,
    help="Keep a searchable index of every image in a folder or bucket, and find images by example.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables, credentials among them
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"pictor {version('pictor')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log each batch to standard error.")
    ] = False,
) -> None:
    configure_logging("INFO" if verbose else "ERROR")
