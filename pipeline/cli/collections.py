"""`pictor collections`: list, show and drop collections."""

from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.output import note, write_json, write_table
from pipeline.service import delete, show
from pipeline.service.access import local_caller
from pipeline.service.answers import collection_json
from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="List, show and drop collections.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A collection's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command("list")
def list_collections(as_json: AsJson = False) -> None:
    """List collections."""
    with wiring.open_index(Settings.from_env()) as index:
        found = show.list_collections(index, local_caller())
    if as_json:
        for info in found:
            write_json(collection_json(info))
        return
    write_table(
        ("name", "rows", "model", "dim", "fingerprint"),
        [(info.name, info.rows, info.model_name, info.dim, info.fingerprint[:8]) for info in found],
    )


@app.command("show")
def show_collection(name: Name, as_json: AsJson = False) -> None:
    """Show one collection and the model it is bound to."""
    with wiring.open_index(Settings.from_env()) as index:
        info = show.show_collection(name, index, local_caller())
    if as_json:
        write_json(collection_json(info))
        return
    write_table(("field", "value"), list(collection_json(info).items()))


@app.command("drop")
def drop_collection(
    name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a collection with all its vectors. Your images stay."""
    settings = Settings.from_env()
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        info = show.show_collection(name, index, local_caller())
        if not yes and not typer.confirm(f"Delete collection {name} with {info.rows} rows?", err=True):
            raise typer.Exit(1)
        delete.drop_collection(name, index, ledger.book, local_caller())
    note(f"dropped {name} ({info.rows} rows)")
