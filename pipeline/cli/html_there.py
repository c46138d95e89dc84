"""The page of a search that a service beside has answered. Pictures are read here, by the same user."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pipeline import wiring
from pipeline.cli.html_page import write_page
from pipeline.cli.output import note
from pipeline.client import Answer, Hit, Pictor, Query, StoredObject, Words
from pipeline.errors import NotFoundError
from pipeline.service.search import SearchAnswer
from pipeline.settings import Settings
from pipeline.types import CollectionInfo, SearchHit


def write_page_there(
    html: Path, collection: str, asked: Sequence[tuple[str, Query, Answer]], pictor: Pictor
) -> None:
    """Args: `asked` has the text, the query and the answer of each search."""
    settings = Settings.from_env()
    shown = pictor.show_collection(collection)
    info = CollectionInfo(
        name=shown.name,
        model_name=shown.model,
        model_address=shown.model_source,
        fingerprint=shown.fingerprint,
        dim=shown.dim,
        vector_type=shown.vector_type,
        precision=shown.precision,
        rows=shown.rows,
    )
    answers = [
        SearchAnswer(
            query=text,
            location=_location_of(query, collection, pictor),
            hits=tuple(_hit_of(hit) for hit in answer.hits),
            error=answer.error,
            code=answer.code,
        )
        for text, query, answer in asked
    ]
    write_page(html, answers, info, wiring.open_store(settings), wiring.limits_of(settings))
    note(f"wrote {html}")


def _location_of(query: Query, collection: str, pictor: Pictor) -> tuple[str, str] | None:
    if isinstance(query, Words):
        return None if query.picture is None else _location_of(query.picture, collection, pictor)
    if isinstance(query, StoredObject):
        return query.bucket, query.key
    try:
        image = pictor.show_image(str(query), collection=collection)
    except NotFoundError:
        return None
    return image.bucket, image.key


def _hit_of(hit: Hit) -> SearchHit:
    return SearchHit(
        id=hit.id,
        bucket=hit.bucket,
        key=hit.key,
        etag=hit.etag,
        score=hit.score,
        width=hit.width,
        height=hit.height,
        size_bytes=hit.size_bytes,
        indexed_at=datetime.fromisoformat(hit.indexed_at),
        metadata=hit.metadata,
    )
