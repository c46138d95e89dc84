"""`pictor search`: find the images nearest to an example."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.bounds import MAX_HITS
from pipeline.cli.running_service import find_service
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_output import print_answers, write_receipts
from pipeline.cli.stated_options import (
    Authorisation,
    Authority,
    Case,
    Offence,
    PersonBehindSearch,
    PurposeOfSearch,
)
from pipeline.errors import ArgumentError


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            help="An image file, s3://bucket/key, file:///path, stored id or person:ID.", show_default=False
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="What the images are to show, in words. Several texts are averaged."),
    ] = None,
    unwanted: Annotated[
        list[str] | None,
        typer.Option("--not", help="What they are not to show, in words. You can repeat it."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="How much text, not or picture count, such as not=0.3. You can repeat it."),
    ] = None,
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
        typer.Option(
            help="""Only images that fulfil this condition, for example '{"field": "width", "gte": 1024}'."""
        ),
    ] = "",
    group_by: Annotated[
        str,
        typer.Option(
            help="image: only the best face of each image. person: each person once, by their faces."
        ),
    ] = "",
    embedding: Annotated[
        str,
        typer.Option(help="Which embedding of each image to ask, such as copies, if there are several."),
    ] = "",
    model: Annotated[
        str, typer.Option(help="Where the collection's model file is now, if you have moved it.")
    ] = "",
    purpose: PurposeOfSearch = "",
    case: Case = "",
    offence: Offence = "",
    authorisation: Authorisation = "",
    authority: Authority = "",
    on_behalf_of: PersonBehindSearch = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per query and line.")] = False,
    receipt: Annotated[
        Path | None, typer.Option(help="Also write the receipts of the answers to this file.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with thumbnails to this file.")] = None,
) -> None:
    """Find the images nearest to each QUERY, or to words. Words go together with each QUERY."""
    wanted = SearchOptions(
        collection=collection,
        k=k,
        min_score=min_score,
        prefix=prefix,
        bucket=bucket,
        metadata=metadata or (),
        where=where,
        group_by=group_by,
        embedding=embedding,
        text=text or (),
        unwanted=unwanted or (),
        weights=weight or (),
        purpose=purpose,
        case=case,
        offence=offence,
        authorisation=authorisation,
        authority=authority,
        on_behalf_of=on_behalf_of,
    )
    if not query and not wanted.has_words:
        raise ArgumentError("nothing to search with; a QUERY or --text is expected")
    if (service := find_service()) is not None:
        from pipeline.cli.search_there import search_there

        service.refuse({"--model": model})
        answers = search_there(query or (), wanted, service, html)
    else:
        from pipeline.cli.search_here import search_here

        answers = search_here(query or (), wanted, model, html)
    if receipt is not None:
        write_receipts(receipt, answers)
    print_answers(answers, query or (), wanted, as_json=as_json)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)
