"""Search through a running service. Nothing here loads an array, a model or an index: that is its point."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.adapters.folder.keys import locate_file
from pipeline.cli.running_service import RunningService
from pipeline.cli.search_options import SearchOptions
from pipeline.client import Answer, Example, Pictor, Query, StoredObject, StoredPerson, Words
from pipeline.client.search_operations import MAX_QUERIES
from pipeline.client_settings import ClientSettings
from pipeline.errors import ArgumentError
from pipeline.location import local_path
from pipeline.search.query import Object, Person
from pipeline.service.query_text import read_pairs, read_query
from pipeline.service.query_words import described, read_weights


def search_there(
    texts: Sequence[str], wanted: SearchOptions, service: RunningService, html: Path | None
) -> list[Mapping[str, object]]:
    """As `search_here`. A file is named to a service beside, and sent to any other."""
    asked: Sequence[str | None] = texts or [None]  # words alone
    queries = [_with_words(None if text is None else _picture_of(text, service), wanted) for text in asked]
    # The service knows no more than where the picture is. What was asked for is known here.
    told = [described(wanted.text, wanted.unwanted, text or "") for text in asked]
    collection = wanted.collection or ClientSettings.from_env().collection
    with service.connect() as pictor:
        answers = list(_answers(queries, collection, wanted, pictor))
        if html is not None:
            _write_page(html, collection, list(zip(told, queries, answers, strict=True)), service, pictor)
    return [{**answer.raw, "query": text} for text, answer in zip(told, answers, strict=True)]


def _with_words(picture: Example | None, wanted: SearchOptions) -> Query:
    weights = read_weights(read_pairs(wanted.weights, of="--weight"))
    if picture is not None and not wanted.has_words and not weights:
        return picture
    return Words(wanted.text, unwanted=wanted.unwanted, picture=picture, weights=weights)


def _picture_of(text: str, service: RunningService) -> Example:
    query = read_query(text, locate_file=locate_file)
    if isinstance(query, Person):
        return StoredPerson(query.id)
    if not isinstance(query, Object):
        return query.id
    if service.is_beside or text.startswith("s3://"):
        return StoredObject(bucket=query.bucket, key=query.key)
    return local_path(text)


def _answers(
    queries: Sequence[Query], collection: str, wanted: SearchOptions, pictor: Pictor
) -> Iterator[Answer]:
    metadata = read_pairs(wanted.metadata, of="--metadata")
    where = _condition_of(wanted.where)
    for start in range(0, len(queries), MAX_QUERIES):
        found = pictor.search_batch(
            queries[start : start + MAX_QUERIES],
            collection=collection,
            k=wanted.k,
            min_score=wanted.min_score,
            prefix=wanted.prefix,
            bucket=wanted.bucket,
            metadata=metadata,
            where=where,
            group_by=wanted.group_by,
            embedding=wanted.embedding,
            on_behalf_of=wanted.on_behalf_of,
            purpose=wanted.purpose,
            case=wanted.case,
            offence=wanted.offence,
            authorisation=wanted.authorisation,
            authority=wanted.authority,
        )
        yield from found.answers


def _condition_of(text: str) -> Mapping[str, object] | None:
    if not text.strip():
        return None
    from pipeline.service.conditions import read_condition_text  # brings the types of the index

    read_condition_text(text, of="--where")  # what is wrong is said in the words of the option
    condition: Mapping[str, object] = json.loads(text)
    return condition


def _write_page(
    html: Path,
    collection: str,
    asked: Sequence[tuple[str, Query, Answer]],
    service: RunningService,
    pictor: Pictor,
) -> None:
    if not service.is_beside:
        raise ArgumentError("--html reads the pictures on this machine, and PICTOR_API names another service")
    from pipeline.cli.html_there import write_page_there

    write_page_there(html, collection, asked, pictor)
