"""Promote and drop generations of the index that this process opens."""

import typer

from pipeline import wiring
from pipeline.cli.output import note
from pipeline.cli.recording import open_accountability
from pipeline.service import promote
from pipeline.service.access import local_caller
from pipeline.service.drop_generation import drop_generation, find_droppable
from pipeline.settings import Settings
from pipeline.types import CollectionInfo


def promote_here(name: str, digits: str) -> None:
    """Make a generation the live one, and say what the former was."""
    with wiring.open_index(Settings.from_env()) as index:
        former, chosen = promote.promote_generation(name, digits, index, local_caller())
    note(f"{name}: {_described(chosen)} is live")
    if former is not None and former.ref != chosen.ref:
        note(f"{_described(former)} is kept. When you do not need it any more, drop it:")
        note(f"  pictor collections drop-generation {name} {former.fingerprint[:8]}")


def drop_generation_here(name: str, digits: str, *, yes: bool) -> None:
    """Args: `yes` asks no question first."""
    settings = Settings.from_env()
    with (
        wiring.open_index(settings) as index,
        wiring.open_ledger(settings) as ledger,
        open_accountability(settings, ledger.policies) as answers_to,
    ):
        doomed = find_droppable(name, digits, index, ledger.book, local_caller())
        if not yes and not typer.confirm(f"Delete {_described(doomed)} of collection {name}?", err=True):
            raise typer.Exit(1)
        dropped = drop_generation(name, digits, index, ledger.book, answers_to, local_caller())
    note(f"dropped {_described(dropped)} of {name}")


def _described(info: CollectionInfo) -> str:
    return f"generation {info.fingerprint[:8]} (model {info.model_name}, {info.rows} rows)"
