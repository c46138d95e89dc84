"""`pictor search`: find the images nearest to an example."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.capacity import Load
from pipeline.cli.output import fail, note, write_json, write_table
from pipeline.ports import MAX_HITS
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import local_caller
from pipeline.service.answers import answer_json
from pipeline.service.arguments import read_pairs, read_query, read_search
from pipeline.service.conditions import read_condition_text
from pipeline.service.models import LoadedOnDemand
from pipeline.service.search import SearchAnswer, SearchPorts, search_images
from pipeline.settings import Settings


def search(
    query: Annotated[
        list[str], typer.Argument(help="An image file, s3://bucket/key, file:///path or stored id.")
    ],
    collection: Annotated[str, typer.Option(help="Collection to search. Default PICTOR_COLLECTION.")] = "",
    k: Annotated[int, typer.Option("-k", help="Hits per query.", min=1, max=MAX_HITS)] = 10,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out hits below this cosine.", min=-1, max=1)
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    bucket: Annotated[str, typer.Option(help="Only this bucket or folder.")] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option(help="Only objects with this user metadata, NAME=VALUE. You can repeat it."),
    ] = None,
    where: Annotated[
        str,
        typer.Option(help="""Only images for which this holds, '{"field": "width", "gte": 1024}'."""),
    ] = "",
    model: Annotated[
        str, typer.Option(help="Where the collection's model file is now, if you have moved it.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per query and line.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with thumbnails to this file.")] = None,
) -> None:
    """Find the images nearest to each QUERY."""
    settings = Settings.from_env()
    limits = wiring.limits_of(settings)
    queries = [read_query(text, locate_file=wiring.locate_file) for text in query]
    request = read_search(
        collection=collection or settings.collection,
        k=k,
        min_score=min_score,
        prefix=prefix,
        bucket=bucket,
        metadata=read_pairs(metadata or [], of="--metadata"),
        condition=read_condition_text(where, of="--where"),
    )
    with wiring.open_index(settings) as index:
        info = find_collection(request.collection, index)
        store = wiring.open_store(settings)
        ports = SearchPorts(
            store=store,
            index=index,
            models=LoadedOnDemand(
                index,
                wiring.model_loader(settings),
                requested=model or settings.model,
                precision=settings.precision,
            ),
            concurrency=wiring.concurrency_of(settings, Load()),
        )
        answers = list(search_images(queries, request, ports, limits, local_caller()))
        if html is not None:
            from pipeline.cli.html_page import write_page

            write_page(html, answers, info, store, limits)
            note(f"wrote {html}")
    _print(answers, as_json=as_json)
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


def _print(answers: Sequence[SearchAnswer], *, as_json: bool) -> None:
    for answer in answers:
        if as_json:
            write_json(answer_json(answer))
        elif answer.error:
            fail(f"{answer.query}: {answer.error}")
        else:
            note(f"{answer.query}: {len(answer.hits)} hits")
            write_table(
                ("score", "key", "size", "bucket", "id"),
                [(f"{h.score:.4f}", h.key, f"{h.width}x{h.height}", h.bucket, h.id) for h in answer.hits],
            )
