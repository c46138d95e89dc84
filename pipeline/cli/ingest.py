"""`pictor ingest`: bring a collection in step with a folder or bucket."""

from typing import Annotated

import typer

from pipeline.cli.ingest_options import IngestOptions
from pipeline.cli.running_service import RunningService, find_service
from pipeline.client_settings import ClientSettings
from pipeline.errors import ArgumentError
from pipeline.ingest.system_folder_names import SYSTEM_FOLDERS

# At the end of --help, where a line is as wide as the terminal.
NOTES = (
    "A glob without / is about the last part of a key. In a glob, * also matches /, and **/ means any "
    "number of folders or none.\n\n"
    f"Below a local folder, what NAS and sync programs keep is left out: {', '.join(SYSTEM_FOLDERS)}. "
    "To index one of these, name it: --include '**/@eaDir/**'."
)


def ingest(
    source: Annotated[
        str, typer.Argument(help="A folder, file:///folder, s3://bucket or s3://bucket/prefix.")
    ],
    collection: Annotated[str, typer.Option(help="Collection to write to. Default PICTOR_COLLECTION.")] = "",
    model: Annotated[
        str,
        typer.Option(
            help="builtin, torchvision/NAME, timm/NAME, hf/ORG/NAME, a folder or FILE.toml. "
            "Default PICTOR_MODEL."
        ),
    ] = "",
    batch_items: Annotated[
        int, typer.Option(help="Objects per batch. 0 means PICTOR_BATCH_ITEMS.", min=0, max=1000)
    ] = 0,
    include: Annotated[
        list[str] | None, typer.Option(help="Only keys that match this glob. You can repeat it.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No keys that match this glob. You can repeat it."),
    ] = None,
    max_failure_rate: Annotated[
        float, typer.Option(help="Exit with 1 when a larger share of the images failed.", min=0, max=1)
    ] = 1.0,
    broker: Annotated[
        str,
        typer.Option(
            help="Submit to the workers on this RabbitMQ (amqp://…) and follow the job. "
            "Default PICTOR_BROKER_URL."
        ),
    ] = "",
    local: Annotated[
        bool, typer.Option("--local", help="Run the job in this process, even if PICTOR_BROKER_URL is set.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin a new job, even if one for SOURCE is unfinished.")
    ] = False,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep vanished objects in the index.")
    ] = False,
    max_delete_share: Annotated[
        float | None,
        typer.Option(
            help="Remove nothing when a larger share of the indexed objects of SOURCE has vanished. "
            "Default 0.2, and up to 4 objects in any case.",
            min=0,
            max=1,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try unchanged objects again that failed before.")
    ] = False,
    new_generation: Annotated[
        bool,
        typer.Option(
            "--new-generation",
            help="If the collection is of another model, fill a second generation with --model. "
            "Searches go on with the first until `pictor collections promote NAME FINGERPRINT`.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what is new, changed and vanished. Write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")] = False,
) -> None:
    """Bring a collection in step with SOURCE. Embed new and changed images, remove vanished ones."""
    wanted = IngestOptions(
        source=source,
        collection=collection,
        model=model,
        batch_items=batch_items,
        include=include or (),
        exclude=exclude or (),
        max_failure_rate=max_failure_rate,
        restart=restart,
        keep_missing=keep_missing,
        max_delete_share=max_delete_share,
        retry_failed=retry_failed,
        new_generation=new_generation,
        dry_run=dry_run,
        as_json=as_json,
    )
    if dry_run and broker:
        raise ArgumentError("--dry-run compares SOURCE with the ledger in this process; leave --broker out")
    if local and broker:
        raise ArgumentError("--local and --broker exclude each other")
    if (service := None if local or broker else _service()) is not None:
        from pipeline.cli.ingest_there import ingest_there

        ingest_there(wanted, service)
    else:
        from pipeline.cli.ingest_here import ingest_here

        ingest_here(wanted, broker=broker, local=local)


def _service() -> RunningService | None:
    """PICTOR_API comes before the workers of a broker, and they before a service that runs beside."""
    found = ClientSettings.from_env()
    return None if found.broker_url and not found.api else find_service(found)
