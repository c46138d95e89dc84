"""`pictor duplicates`: groups of images of a collection that look like copies of each other."""

from collections.abc import Sequence
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.output import counted, note, write_json, write_table
from pipeline.cli.running_service import find_service
from pipeline.cli.search_ports import open_search_ports
from pipeline.cli.stated_options import (
    Authorisation,
    Authority,
    Case,
    Offence,
    PersonBehindSearch,
    PurposeOfSearch,
)
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import local_caller
from pipeline.service.answers import hit_json
from pipeline.service.arguments import read_justification, read_person
from pipeline.service.duplicates import MIN_SCORE, Duplicates, choose_embedding, find_duplicates
from pipeline.settings import Settings

COLUMNS = ("group", "score", "key", "size", "bucket", "id")


def duplicates(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="A collection's name.")],
    min_score: Annotated[
        float, typer.Option(help="Cosine from which two images count as copies.", min=-1, max=1)
    ] = MIN_SCORE,
    key_prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    embedding: Annotated[
        str, typer.Option(help="Which embedding to compare. Default copies, if there is one, or else main.")
    ] = "",
    purpose: PurposeOfSearch = "",
    case: Case = "",
    offence: Offence = "",
    authorisation: Authorisation = "",
    authority: Authority = "",
    on_behalf_of: PersonBehindSearch = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per group and line.")] = False,
) -> None:
    """Find images of a collection that look like copies of each other. Nothing is deleted.

    Of each group, the first image is the one to keep: the largest, or the oldest of equal ones. The log has a
    record for each image that is compared.
    """
    if (service := find_service()) is not None:
        service.refuse({"pictor duplicates": True})
    settings = Settings.from_env()
    why = read_justification(
        purpose=purpose, case=case, offence=offence, authorisation=authorisation, authority=authority
    )
    with open_search_ports(settings, collection) as ports:
        chosen = choose_embedding(find_collection(collection, ports.index), embedding)
        found = find_duplicates(
            collection,
            ports,
            wiring.limits_of(settings),
            local_caller(on_behalf_of=read_person(on_behalf_of)),
            embedding=chosen,
            min_score=min_score,
            key_prefix=key_prefix,
            justification=why,
        )
    _print(found, chosen, as_json=as_json)


def _print(found: Sequence[Duplicates], embedding: str, *, as_json: bool) -> None:
    if as_json:
        for group in found:
            copies = [hit_json(hit) for hit in group.copies]
            write_json({"embedding": embedding, "kept": hit_json(group.kept), "copies": copies})
        return
    copies_found = sum(len(group.copies) for group in found)
    groups, images = counted(len(found), "group"), counted(copies_found, "image")
    note(f"{groups} by embedding {embedding}, {images} besides those to keep")
    rows = [
        (number, f"{hit.score:.4f}", hit.key, f"{hit.width}x{hit.height}", hit.bucket, hit.id)
        for number, group in enumerate(found, 1)
        for hit in (group.kept, *group.copies)
    ]
    if rows:
        write_table(COLUMNS, rows)
