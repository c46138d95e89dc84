"""`pictor search`: find the images nearest to an example."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

<<<<<<< HEAD
from pipeline import wiring, wiring_audit
from pipeline.capacity import Load
from pipeline.cli.output import fail, note, warn, write_json, write_table
from pipeline.ports import MAX_HITS
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.answers import answer_json
from pipeline.service.arguments import read_justification, read_pairs, read_person, read_query, read_search
from pipeline.service.conditions import read_condition_text
from pipeline.service.models import LoadedOnDemand
from pipeline.service.search import SearchAnswer, SearchPorts, search_images
from pipeline.settings import Settings
=======
from pipeline.cli.output import fail, note, write_json, write_table
from pipeline.cli.running_service import find_service
from pipeline.cli.search_options import SearchOptions
from pipeline.types.index import MAX_HITS
>>>>>>> main


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
    purpose: Annotated[str, typer.Option(help="What it is for: a code of the collection's policy.")] = "",
    case: Annotated[str, typer.Option(help="Reference of the case.")] = "",
    offence: Annotated[str, typer.Option(help="Code of the offence.")] = "",
    authorisation: Annotated[str, typer.Option(help="Reference of the authorisation.")] = "",
    authority: Annotated[str, typer.Option(help="Who gave the authorisation.")] = "",
    on_behalf_of: Annotated[str, typer.Option(help="The person for whom you search.")] = "",
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
<<<<<<< HEAD
        metadata=read_pairs(metadata or [], of="--metadata"),
        condition=read_condition_text(where, of="--where"),
        justification=read_justification(
            purpose=purpose,
            case=case,
            offence=offence,
            authorisation=authorisation,
            authority=authority,
        ),
    )
    caller = local_caller(on_behalf_of=read_person(on_behalf_of))
    with (
        wiring.open_index(settings) as index,
        wiring.open_ledger(settings) as ledger,
        wiring_audit.open_recording(settings) as log,
    ):
        info = find_collection(request.collection, index)
        store = wiring.open_store(settings)
        ports = SearchPorts(
            store=store,
            index=index,
            answers_to=Accountability(log=log, policies=ledger.policies, index=index),
            models=LoadedOnDemand(
                index,
                wiring.model_loader(settings),
                requested=model or settings.model,
                precision=settings.precision,
            ),
            concurrency=wiring.concurrency_of(settings, Load()),
        )
        answers = list(search_images(queries, request, ports, limits, caller))
        if html is not None:
            from pipeline.cli.html_page import write_page
=======
        metadata=metadata or (),
        where=where,
    )
    if (service := find_service()) is not None:
        from pipeline.cli.search_there import search_there
>>>>>>> main

        service.refuse({"--model": model})
        answers = search_there(query, wanted, service, html)
    else:
        from pipeline.cli.search_here import search_here

        answers = search_here(query, wanted, model, html)
    _print(answers, as_json=as_json)
<<<<<<< HEAD
    _say_what_is_due(answers)
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


def _say_what_is_due(answers: Sequence[SearchAnswer]) -> None:
    if not all(answer.receipt for answer in answers):
        warn("PICTOR_AUDIT is off: this search is not recorded")
    if persons := max((answer.to_verify for answer in answers if answer.hits), default=0):
        note(f"To be verified: {persons} persons must look at each hit before it counts.")


def _print(answers: Sequence[SearchAnswer], *, as_json: bool) -> None:
=======
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _print(answers: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
>>>>>>> main
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
