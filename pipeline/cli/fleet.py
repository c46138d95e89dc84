"""The commands for running workers: `pictor init`, `worker`, `sweep` and `dead`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.first_key import hand_out_first_key
from pipeline.cli.output import note, warn, write_json, write_line, write_table
from pipeline.errors import CredentialsError, NotFoundError, TransientError
from pipeline.settings import Settings

dead_app = typer.Typer(no_args_is_help=True, help="List, replay and purge dead letters.")


def init(
    wait: Annotated[float, typer.Option(help="Seconds to keep trying while services come up.", min=0)] = 0.0,
    new_generation: Annotated[
        bool,
        typer.Option(
            "--new-generation",
            help="If the collection is of another model, make a second generation for PICTOR_MODEL.",
        ),
    ] = False,
    admin_key: Annotated[
        bool,
        typer.Option(
            "--admin-key", help="If the HTTP service has no key yet, make one of role admin and print it."
        ),
    ] = False,
    admin_key_file: Annotated[
        Path | None, typer.Option(help="The same, but write it to this new file, which only you may read.")
    ] = None,
    s3_policy: Annotated[
        str,
        typer.Option(
            metavar="ROLES",
            help="Print the S3 policy of a user with these roles, for example plan,embed, and end.",
        ),
    ] = "",
) -> None:
    """Make queues, buckets and the collection, and migrate the ledger. Safe to run again."""
    from workers.provision import initialise_when_there

    settings = Settings.from_env()
    if s3_policy:
        write_json(wiring.store_policy(settings, [role.strip() for role in s3_policy.split(",")]))
        return
    for step in initialise_when_there(settings, wait, new_generation=new_generation):
        write_line(step)
    if admin_key or admin_key_file is not None:
        hand_out_first_key(settings, admin_key_file)


def worker(
    queues: Annotated[str, typer.Option(help="Comma-separated: plan, prepare, embed, search.")],
    children: Annotated[int, typer.Option(help="Processes that do the work.", min=1, max=64)] = 1,
    name: Annotated[
        str, typer.Option(help="Name of this worker, unique on its machine. Default: its queues.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda:N or auto. Default PICTOR_DEVICE.")] = "",
) -> None:
    """Run a worker until SIGTERM, then finish the tasks in flight and exit with 0."""
    from workers.broker.queue_names import FORMER_PREPARE, read_roles
    from workers.worker import run_worker

    settings = Settings.from_env()
    if device:
        settings = settings.model_copy(update={"device": device})
    names = [queue.strip() for queue in queues.split(",") if queue.strip()]
    roles = read_roles(names)
    if FORMER_PREPARE in names:
        warn(f"--queues {FORMER_PREPARE} is called prepare now; the next version refuses the old name")
    run_worker(settings, roles=roles, children=children, name=name or "-".join(roles))


def sweep(
    minutes: Annotated[int, typer.Option(help="Keep younger blocks.", min=0)] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Delete staged blocks that no batch needs any more, and prune old jobs. Run it once a day."""
    from dataclasses import asdict

    from pipeline.service.access import local_caller
    from pipeline.service.prune import prune_jobs
    from pipeline.types import Pruned
    from workers.sweep import sweep_blocks

    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger:
        swept = sweep_blocks(
            wiring.open_s3(settings), ledger, settings.staging_bucket, timedelta(minutes=minutes)
        )
        retention = timedelta(days=settings.retention_days)
        pruned = prune_jobs(ledger, local_caller(), older_than=retention) if retention else Pruned()
    letters = _purge_old_letters(settings, retention)
    if as_json:
        write_json(asdict(swept) | {"pruned": asdict(pruned), "dead_letters": letters})
        return
    note(f"deleted {swept.deleted} of {swept.looked_at} blocks, {swept.deleted_bytes / 2**20:.1f} MiB")
    if pruned != Pruned():
        note(
            f"deleted {pruned.batches} batches, {pruned.failures} failures and {pruned.jobs} refused "
            f"submissions of jobs that ended {settings.retention_days} days ago"
        )
    if letters:
        note(f"deleted {letters} dead letters that are {settings.retention_days} days old")


def _purge_old_letters(settings: Settings, retention: timedelta) -> int:
    """Where there is a broker. One that is away, or that lets this user not read them, fails no sweep."""
    from workers.broker.connection import broker_connection
    from workers.broker.dead_letters import purge_old

    if not retention or not settings.broker_url.get_secret_value():
        return 0
    try:
        with broker_connection(settings) as connection:
            return purge_old(connection, retention)
    except (TransientError, CredentialsError) as err:
        warn(f"old dead letters stay: {err}")
        return 0


@dead_app.command("list")
def list_dead(
    limit: Annotated[int, typer.Option(help="How many, in the order of the queue.", min=1, max=10_000)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show dead letters, each with its reason."""
    from dataclasses import asdict

    from workers.broker.connection import broker_connection
    from workers.broker.dead_letters import count_dead
    from workers.broker.dead_letters import list_dead as look

    with broker_connection(Settings.from_env()) as connection:
        count = count_dead(connection)
        letters = look(connection, limit)
    if as_json:
        for letter in letters:
            died_at = letter.died_at.isoformat() if letter.died_at else None
            write_json(asdict(letter) | {"died_at": died_at})
    else:
        columns = ("task", "id", "queue", "reason", "bytes", "arguments")
        rows = [(x.task, x.task_id, x.queue, x.reason, x.size_bytes, x.shown) for x in letters]
        write_table(columns, rows)
    if len(letters) == limit < count:
        note(f"{limit} of {count} dead letters; --limit shows more")


@dead_app.command("replay")
def replay_dead(
    task_id: Annotated[str, typer.Argument(metavar="[ID]", help="Only this dead letter. Default all.")] = "",
) -> None:
    """Put dead letters back on the queue they came from."""
    from workers.broker.connection import broker_connection
    from workers.broker.dead_letters import replay_dead as replay

    with broker_connection(Settings.from_env()) as connection:
        done = replay(connection, task_id or None)
    if task_id and not done.replayed:
        raise NotFoundError(f"no dead letter {task_id}; `pictor dead list` shows those that there are")
    note(f"replayed {done.replayed} dead letters" + (f", {done.left} are left" if done.left else ""))


@dead_app.command("purge")
def purge_dead(
    older_than: Annotated[
        str, typer.Option(help="Only letters of this age, for example 90d, 12w or 48h.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete every dead letter, or the old ones."""
    from pipeline.service.arguments import read_age
    from workers.broker.connection import broker_connection
    from workers.broker.dead_letters import purge_dead as purge
    from workers.broker.dead_letters import purge_old

    age = read_age(older_than) if older_than else None
    which = "every dead letter" if age is None else f"the dead letters that are older than {older_than}"
    if not yes and not typer.confirm(f"Delete {which}?", err=True):
        raise typer.Exit(1)
    with broker_connection(Settings.from_env()) as connection:
        note(f"purged {purge(connection) if age is None else purge_old(connection, age)} dead letters")
