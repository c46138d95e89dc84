"""`pictor collections`: list, show and drop collections and their generations."""

from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.output import note, write_json, write_table
from pipeline.service import delete, promote, show
from pipeline.service.access import local_caller
from pipeline.service.answers import collection_json, generation_json
from pipeline.service.drop_generation import drop_generation, find_droppable
from pipeline.settings import Settings
from pipeline.types import CollectionInfo

app = typer.Typer(
    no_args_is_help=True, help="List, show and drop collections; promote and drop their generations."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A collection's name.")]
Digits = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="The first digits of a generation's fingerprint.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
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
    """Show one collection: the model that answers, and its generations."""
    with wiring.open_index(Settings.from_env()) as index:
        info = show.show_collection(name, index, local_caller())
        generations = show.list_generations(name, index, local_caller())
    if as_json:
        write_json(collection_json(info) | {"generations": [generation_json(one) for one in generations]})
        return
    write_table(("field", "value"), list(collection_json(info).items()))
    note("Generations:")
    write_table(
        ("fingerprint", "model", "rows", "live"),
        [(one.fingerprint[:8], one.model_name, one.rows, "yes" if one.live else "") for one in generations],
    )


@app.command("promote")
def promote_generation(name: Name, digits: Digits) -> None:
    """Let another generation of a collection answer searches. The former one stays until you drop it."""
    with wiring.open_index(Settings.from_env()) as index:
        former, chosen = promote.promote_generation(name, digits, index, local_caller())
    note(f"{name}: {_described(chosen)} is live")
    if former is not None and former.ref != chosen.ref:
        note(f"{_described(former)} is kept. When you do not need it any more, drop it:")
        note(f"  pictor collections drop-generation {name} {former.fingerprint[:8]}")


@app.command("drop-generation")
def drop_one_generation(name: Name, digits: Digits, yes: Yes = False) -> None:
    """Delete a generation that is not live, with its vectors. Your images stay."""
    settings = Settings.from_env()
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        doomed = find_droppable(name, digits, index, ledger.book, local_caller())
        if not yes and not typer.confirm(f"Delete {_described(doomed)} of collection {name}?", err=True):
            raise typer.Exit(1)
        dropped = drop_generation(name, digits, index, ledger.book, local_caller())
    note(f"dropped {_described(dropped)} of {name}")


@app.command("drop")
def drop_collection(name: Name, yes: Yes = False) -> None:
    """Delete a collection with all its generations. Your images stay."""
    settings = Settings.from_env()
    with wiring.open_index(settings) as index, wiring.open_ledger(settings) as ledger:
        info = show.show_collection(name, index, local_caller())
        if not yes and not typer.confirm(f"Delete collection {name} with {info.rows} rows?", err=True):
            raise typer.Exit(1)
        delete.drop_collection(name, index, ledger.book, local_caller())
    note(f"dropped {name} ({info.rows} rows)")


def _described(info: CollectionInfo) -> str:
    return f"generation {info.fingerprint[:8]} (model {info.model_name}, {info.rows} rows)"
