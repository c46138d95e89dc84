"""`pictor duplicates`: groups of images of a collection that look like copies of each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pipeline.cli.output import counted, note, write_json, write_table
from pipeline.cli.running_service import RunningService, find_service
from pipeline.cli.stated_options import (
    Authorisation,
    Authority,
    Case,
    Offence,
    PersonBehindSearch,
    PurposeOfSearch,
)
from pipeline.service.duplicates import MIN_SCORE

Group = Mapping[str, Any]  # as JSON: `kept` is a hit, and `copies` are some
Found = tuple[str, Sequence[Group]]  # with the embedding that was compared

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
    stated = {
        "purpose": purpose,
        "case": case,
        "offence": offence,
        "authorisation": authorisation,
        "authority": authority,
    }
    wanted = Wanted(
        collection=collection,
        min_score=min_score,
        key_prefix=key_prefix,
        embedding=embedding,
        stated=stated,
        on_behalf_of=on_behalf_of,
    )
    if (service := find_service()) is not None:
        compared, groups = _found_there(wanted, service)
    else:
        compared, groups = _found_here(wanted)
    _print(groups, compared, as_json=as_json)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    collection: str
    min_score: float
    key_prefix: str
    embedding: str
    stated: Mapping[str, str]
    on_behalf_of: str


def _found_there(wanted: Wanted, service: RunningService) -> Found:
    with service.connect() as pictor:
        found = pictor.find_duplicates(
            collection=wanted.collection,
            min_score=wanted.min_score,
            key_prefix=wanted.key_prefix,
            embedding=wanted.embedding,
            on_behalf_of=wanted.on_behalf_of,
            **wanted.stated,
        )
    return found.embedding, [group.raw for group in found.groups]


def _found_here(wanted: Wanted) -> Found:
    from pipeline import wiring
    from pipeline.cli.search_ports import open_search_ports
    from pipeline.ports.model_binding import find_collection
    from pipeline.service.access import local_caller
    from pipeline.service.arguments import read_justification, read_person
    from pipeline.service.duplicates import choose_embedding, find_duplicates, group_json
    from pipeline.settings import Settings

    settings = Settings.from_env()
    why = read_justification(**wanted.stated)
    with open_search_ports(settings, wanted.collection) as ports:
        chosen = choose_embedding(find_collection(wanted.collection, ports.index), wanted.embedding)
        found = find_duplicates(
            wanted.collection,
            ports,
            wiring.limits_of(settings),
            local_caller(on_behalf_of=read_person(wanted.on_behalf_of)),
            embedding=chosen,
            min_score=wanted.min_score,
            key_prefix=wanted.key_prefix,
            justification=why,
        )
    return chosen, [group_json(group) for group in found]


def _print(groups: Sequence[Group], embedding: str, *, as_json: bool) -> None:
    if as_json:
        for group in groups:
            write_json({"embedding": embedding, "kept": group["kept"], "copies": group["copies"]})
        return
    copies_found = sum(len(group["copies"]) for group in groups)
    found, images = counted(len(groups), "group"), counted(copies_found, "image")
    note(f"{found} by embedding {embedding}, {images} besides those to keep")
    rows = [
        (
            number,
            f"{hit['score']:.4f}",
            hit["key"],
            f"{hit['width']}x{hit['height']}",
            hit["bucket"],
            hit["id"],
        )
        for number, group in enumerate(groups, 1)
        for hit in (group["kept"], *group["copies"])
    ]
    if rows:
        write_table(COLUMNS, rows)
