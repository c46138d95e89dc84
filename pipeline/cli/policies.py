"""`pictor policies`: show, set and agree to what collections may be searched for."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.output import note, write_json, write_table
from pipeline.cli.recording import open_accountability
from pipeline.errors import ArgumentError
from pipeline.service import policies
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.policy_body import read_policy, version_json
from pipeline.settings import Settings
from pipeline.types import CaseClock, PolicyState, PolicyVersion

app = typer.Typer(no_args_is_help=True, help="Show, set and agree to what collections may be searched for.")

Collection = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of the collection.")]
Number = Annotated[int, typer.Argument(metavar="VERSION", help="Number of the version.", min=1)]


@app.command("show")
def show(collection: Collection) -> None:
    """Print the policy in force as JSON."""
    with _accountability() as answers_to:
        write_json(version_json(policies.show_policy(collection, answers_to, local_caller())))


@app.command("set")
def set_policy(
    collection: Collection,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy as JSON.")],
) -> None:
    """Set the policy of a collection. If it is looser than the present one, another person must agree."""
    try:
        policy = read_policy(file.read_bytes())
    except OSError as err:
        raise ArgumentError(f"{file}: {err.strerror}") from err
    with _accountability() as answers_to:
        version = policies.set_policy(collection, policy, answers_to, local_caller())
    _say(version)


@app.command("history")
def history(
    collection: Collection,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per version and line.")] = False,
) -> None:
    """List all versions, newest first."""
    with _accountability() as answers_to:
        found = policies.policy_history(collection, answers_to, local_caller())
    if as_json:
        for version in found:
            write_json(version_json(version))
        return
    columns = ("version", "state", "looser in", "proposed by", "proposed", "decided by")
    write_table(columns, [_row(version) for version in found])


@app.command("approve")
def approve(collection: Collection, version: Number) -> None:
    """Agree to a proposed version. You cannot agree to your own."""
    _decide(collection, version, agree=True)


@app.command("refuse")
def refuse(collection: Collection, version: Number) -> None:
    """Refuse a proposed version."""
    _decide(collection, version, agree=False)


@app.command("authorise")
def authorise(
    collection: Collection,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Reference of the case.")],
    authorisation: Annotated[str, typer.Option("--reference", help="Reference of the decision.")],
    authority: Annotated[str, typer.Option(help="Who decided.")],
    refused: Annotated[bool, typer.Option("--refused", help="The authority said no.")] = False,
) -> None:
    """Enter what an authority decided of a case. It cannot be changed afterwards."""
    decided = CaseClock(
        collection=collection,
        case=case,
        started_at=datetime.now(UTC),
        granted=not refused,
        authorisation=authorisation,
        authority=authority,
    )
    with _accountability() as answers_to:
        policies.decide_case(decided, answers_to, local_caller())
    note(f"collection {collection} is {'closed' if refused else 'open'} to case {case}")


def _decide(collection: str, number: int, *, agree: bool) -> None:
    with _accountability() as answers_to:
        version = policies.decide_policy(collection, number, answers_to, local_caller(), agree=agree)
    _say(version)


def _say(version: PolicyVersion) -> None:
    said = f"version {version.version} of the policy of {version.collection} is {version.state}"
    if version.state is PolicyState.PROPOSED:
        said += f": it is looser in {', '.join(version.loosens)}, and another person must approve it"
    note(said)


@contextmanager
def _accountability() -> Iterator[Accountability]:
    settings = Settings.from_env()
    with (
        wiring.open_ledger(settings) as ledger,
        open_accountability(settings, ledger.policies) as answers_to,
    ):
        yield answers_to


def _row(version: PolicyVersion) -> tuple[str, ...]:
    return (
        str(version.version),
        version.state.value,
        ", ".join(version.loosens),
        version.proposed_by,
        f"{version.proposed_at:%Y-%m-%d %H:%M}",
        version.decided_by,
    )
