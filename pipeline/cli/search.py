"""`pictor search`: find the images nearest to an example."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from pipeline.cli.output import fail, note, write_json, write_table
from pipeline.cli.running_service import find_service
from pipeline.cli.search_options import SearchOptions
from pipeline.types.index import MAX_HITS


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
    wanted = SearchOptions(
        collection=collection,
        k=k,
        min_score=min_score,
        prefix=prefix,
        bucket=bucket,
        metadata=metadata or (),
        where=where,
    )
    if (service := find_service()) is not None:
        from pipeline.cli.search_there import search_there

        service.refuse({"--model": model})
        answers = search_there(query, wanted, service, html)
    else:
        from pipeline.cli.search_here import search_here

        answers = search_here(query, wanted, model, html)
    _print(answers, as_json=as_json)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _print(answers: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    for answer in answers:
        if as_json:
            write_json(answer)
        elif "error" in answer:
            fail(f"{answer['query']}: {answer['error']}")
        else:
            rows = [_row(hit) for hit in cast("Iterable[Mapping[str, object]]", answer["hits"])]
            note(f"{answer['query']}: {len(rows)} hits")
            write_table(("score", "key", "size", "bucket", "id"), rows)


def _row(hit: Mapping[str, object]) -> tuple[object, ...]:
    return (f"{hit['score']:.4f}", hit["key"], f"{hit['width']}x{hit['height']}", hit["bucket"], hit["id"])
