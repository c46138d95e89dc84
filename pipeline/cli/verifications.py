"""`pictor verifications`: what persons decide of the matches of searches."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Annotated, Protocol

import typer

from pipeline.cli.output import note, write_json, write_table
from pipeline.cli.running_service import find_service
from pipeline.service.access import Permission, local_caller, require
from pipeline.service.arguments import read_age, read_person
from pipeline.settings import Settings
from pipeline.types import MatchDecision

app = typer.Typer(
    no_args_is_help=True, help="List matches of searches that persons must verify, and decide on them."
)

MatchId = Annotated[
    str, typer.Argument(metavar="MATCH", help="Receipt of the search, `-` and the rank of the hit.")
]
Fields = Mapping[str, object]


class Verifications(Protocol):
    """Those of a ledger, opened here or asked for through a service. Fields are those of `match_json`."""

    def list(self, collection: str, limit: int) -> Iterable[Fields]: ...

    def show(self, match_id: str) -> Fields: ...

    def decide(self, match_id: str, decision: MatchDecision, reason: str) -> Fields: ...


def _opened(person: str = "") -> AbstractContextManager[Verifications]:
    if (service := find_service()) is not None:
        from pipeline.cli.verifications_there import verifications_there

        return verifications_there(service, person)
    from pipeline.cli.verifications_here import verifications_here

    return verifications_here(person)


@app.command("list")
def list_queue(
    collection: Annotated[str, typer.Option(help="Only matches of this collection.")] = "",
    limit: Annotated[int, typer.Option(help="Most matches.", min=1, max=1000)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the matches that you may verify, the oldest search first."""
    with _opened() as verifications:
        found = list(verifications.list(collection, limit))
    if as_json:
        for match in found:
            write_json(match)
        return
    columns = ("match", "collection", "image", "score", "state", "searched")
    names = ("id", "collection", "image_id", "score", "state", "searched_at")
    write_table(columns, [[match[name] for name in names] for match in found])


@app.command("show")
def show(match_id: MatchId) -> None:
    """Print one match as JSON. What others decided is in it once the match is closed."""
    with _opened() as verifications:
        write_json(verifications.show(match_id))


@app.command("decide")
def decide(
    match_id: MatchId,
    decision: Annotated[MatchDecision, typer.Argument(metavar="DECISION", help=", ".join(MatchDecision))],
    reason: Annotated[str, typer.Option(help="Why. It is recorded.")],
    on_behalf_of: Annotated[str, typer.Option(help="The person who decides, if that is not you.")] = "",
) -> None:
    """Decide whether both pictures show the same. You cannot change it, nor decide on your own search."""
    with _opened(read_person(on_behalf_of)) as verifications:
        match = verifications.decide(match_id, decision, reason)
    note(f"recorded; match {match['id']} is {match['state']}{' and closed' if match['closed'] else ''}")


@app.command("sweep")
def sweep(
    older_than: Annotated[
        str, typer.Option(help="Also pictures of open searches that are older, for example 30d.")
    ] = "",
) -> None:
    """Erase pictures that were searched with and are not needed for a verification any more."""
    from pipeline.cli.verifications_here import sweep_here

    before = datetime.now(UTC) - read_age(older_than) if older_than else None
    note(f"{sweep_here(before)} pictures erased")


@app.command("rebuild")
def rebuild() -> None:
    """Make the tables of verifications anew, from the entries of the log."""
    from pipeline import wiring_audit

    require(local_caller(), Permission.OPERATE)
    with wiring_audit.open_audit_log(Settings.from_env()) as log:
        log.rebuild_verifications()
    note("the tables of verifications are made anew")
