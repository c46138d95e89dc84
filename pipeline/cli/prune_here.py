"""`pictor jobs prune`, in the ledger that this process opens."""

from dataclasses import asdict
from datetime import timedelta

from pipeline import wiring
from pipeline.cli.output import note, write_json
from pipeline.service.access import local_caller
from pipeline.service.arguments import read_age
from pipeline.service.prune import prune_jobs
from pipeline.settings import Settings


def prune_here(older_than: str, *, dry_run: bool, as_json: bool) -> None:
    """Args: `older_than` is an age, or "" for that of the settings."""
    settings = Settings.from_env()
    age = read_age(older_than) if older_than else timedelta(days=settings.retention_days)
    if not age and not older_than:
        note("PICTOR_RETENTION_DAYS is 0: nothing is pruned without --older-than")
        return
    with wiring.open_ledger(settings) as ledger:
        pruned = prune_jobs(ledger, local_caller(), older_than=age, dry_run=dry_run)
    if as_json:
        write_json(asdict(pruned))
        return
    verb = "would delete" if dry_run else "deleted"
    note(f"{verb} {pruned.batches} batches, {pruned.failures} failures and {pruned.jobs} refused submissions")
