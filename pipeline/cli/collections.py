"""`pictor collections`: list, show and drop collections and their generations."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Protocol, cast

import typer

from pipeline.cli.int8_words import with_int8_in_words
from pipeline.cli.output import note, write_json, write_table
from pipeline.cli.running_service import find_service

app = typer.Typer(
    no_args_is_help=True, help="List, show and drop collections; promote and drop their generations."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A collection's name.")]
Digits = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="The first digits of a generation's fingerprint.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Fields = Mapping[str, object]


class Collections(Protocol):
    """The collections of an index, opened here or asked for through a service.

    Fields are those of `collection_json` and `generation_json`.
    """

    def list(self) -> Sequence[Fields]: ...

    def show(self, name: str) -> Fields: ...

    def generations(self, name: str) -> Sequence[Fields]: ...

    def drop(self, name: str) -> None: ...


def _opened() -> AbstractContextManager[Collections]:
    if (service := find_service()) is not None:
        from pipeline.cli.collections_there import collections_there

        return collections_there(service)
    from pipeline.cli.collections_here import collections_here

    return collections_here()


@app.command("list")
def list_collections(as_json: AsJson = False) -> None:
    """List collections."""
    with _opened() as collections:
        found = collections.list()
    if as_json:
        for info in found:
            write_json(info)
        return
    write_table(
        ("name", "rows", "model", "dim", "fingerprint"),
        [(info["name"], info["rows"], info["model"], info["dim"], _digits_of(info)) for info in found],
    )


@app.command("show")
def show_collection(name: Name, as_json: AsJson = False) -> None:
    """Show one collection: the model that answers, and its generations."""
    with _opened() as collections:
        info, generations = collections.show(name), collections.generations(name)
    if as_json:
        write_json({**info, "generations": generations})
        return
    rows = with_int8_in_words(info)
    rows.pop("embeddings", None)
    write_table(("field", "value"), list(rows.items()))
    if "embeddings" in info:
        note("Embeddings of each image:")
        write_table(
            ("name", "model", "dim", "reads text"),
            [
                (one["name"], one["model"], one["dim"], "yes" if one["reads_text"] else "")
                for one in cast("Sequence[Fields]", info["embeddings"])
            ],
        )
    note("Generations:")
    write_table(("fingerprint", "model", "rows", "precision", "live"), map(_generation_row, generations))


def _generation_row(one: Fields) -> Sequence[object]:
    """A service of an earlier version tells no precision."""
    live = "yes" if one["live"] else ""
    return (_digits_of(one), one["model"], one["rows"], one.get("precision", ""), live)


@app.command("promote")
def promote_generation(name: Name, digits: Digits) -> None:
    """Let another generation of a collection answer searches. The former one stays until you drop it."""
    _refuse_service("pictor collections promote")
    from pipeline.cli.generations_here import promote_here

    promote_here(name, digits)


@app.command("drop-generation")
def drop_one_generation(name: Name, digits: Digits, yes: Yes = False) -> None:
    """Delete a generation that is not live, with its vectors. Your images stay."""
    _refuse_service("pictor collections drop-generation")
    from pipeline.cli.generations_here import drop_generation_here

    drop_generation_here(name, digits, yes=yes)


@app.command("drop")
def drop_collection(name: Name, yes: Yes = False) -> None:
    """Delete a collection with all its generations. Your images stay."""
    with _opened() as collections:
        rows = collections.show(name)["rows"]
        if not yes and not typer.confirm(f"Delete collection {name} with {rows} rows?", err=True):
            raise typer.Exit(1)
        collections.drop(name)
    note(f"dropped {name} ({rows} rows)")


def _refuse_service(command: str) -> None:
    if (service := find_service()) is not None:
        service.refuse({command: True})


def _digits_of(fields: Fields) -> str:
    return str(fields["fingerprint"])[:8]
