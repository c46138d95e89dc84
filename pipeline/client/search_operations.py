"""Operations that search a collection for what looks like an example."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.client.calls import JSON_HEADERS, Call, Fields, json_body
from pipeline.client.queries import Query, picture_of, query_json
from pipeline.client.requests import DEFAULT_COLLECTION, collection_path, stated_headers
from pipeline.client.results import FoundDuplicates, SearchResult, reader_of

MAX_QUERIES = 100  # of one batch


def search(
    query: Query,
    *,
    collection: str = DEFAULT_COLLECTION,
    k: int = 10,
    min_score: float | None = None,
    bucket: str = "",
    prefix: str = "",
    metadata: Mapping[str, str] | None = None,
    where: Fields | None = None,
    with_vector: bool = False,
    group_by: str = "",
    embedding: str = "",
    purpose: str = "",
    case: str = "",
    offence: str = "",
    authorisation: str = "",
    authority: str = "",
    on_behalf_of: str = "",
) -> Call[SearchResult]:
    """The stored images nearest to one example.

    Args:
        k: hits, 1..1000.
        min_score: cosine, -1..1. Hits below it are left out.
        bucket, prefix, metadata: only images of this bucket, key prefix and user metadata.
        where: only images for which a condition holds, for example {"field": "width", "gte": 1024}.
        with_vector: also the vector of each hit.
        group_by: "image" for the best view of each image, "person" for persons of a collection of faces.
        embedding: which embedding of each image is asked, where the collection has several. "main" is the
            first.
        purpose, case, offence, authorisation, authority: what the policy of the collection asks for.
        on_behalf_of: the person on whose behalf you search.

    Raises:
        ImageError: the picture cannot be read.
        NotFoundError: no such collection or stored image.
    """
    stated = stated_headers(purpose, case, offence, authorisation, authority, on_behalf_of)
    if isinstance(query, Path | bytes) and not metadata:
        given = {
            "k": k,
            "min_score": min_score,
            "bucket": bucket or None,
            "prefix": prefix or None,
            "where": json.dumps(where) if where else None,
            "with_vector": "true" if with_vector else None,
            "group_by": group_by or None,
            "embedding": embedding or None,
        }
        return _search_call(
            f"{collection_path(collection)}/search/image",
            picture_of(query),
            {"content-type": "application/octet-stream", **stated},
            params={name: str(value) for name, value in given.items() if value is not None},
        )
    options = _options_json(
        k, min_score, with_vector, group_by, embedding, _filter_json(bucket, prefix, metadata, where)
    )
    body = json_body({"query": query_json(query), **options})
    return _search_call(f"{collection_path(collection)}/search", body, {**JSON_HEADERS, **stated})


def find_duplicates(
    *,
    collection: str = DEFAULT_COLLECTION,
    min_score: float | None = None,
    key_prefix: str = "",
    embedding: str = "",
    purpose: str = "",
    case: str = "",
    offence: str = "",
    authorisation: str = "",
    authority: str = "",
    on_behalf_of: str = "",
) -> Call[FoundDuplicates]:
    """Groups of images that look like copies of each other. Nothing is deleted.

    Each image is searched for, so it takes seconds, and the log has an entry of each.

    Args:
        min_score: cosine from which two images count as copies, by default 0.9.
        key_prefix: only keys that begin with this. One call compares at most 10,000 images.
        embedding: which embedding is compared. By default "copies", if there is one, or else "main".
        purpose, case, offence, authorisation, authority: what the policy of the collection asks for.
        on_behalf_of: the person on whose behalf you search.
    """
    stated = stated_headers(purpose, case, offence, authorisation, authority, on_behalf_of)
    return Call(
        method="POST",
        path=f"{collection_path(collection)}/duplicates",
        headers={**JSON_HEADERS, **stated},
        body=json_body({"min_score": min_score, "key_prefix": key_prefix, "embedding": embedding}),
        read=reader_of(FoundDuplicates),
    )


def search_batch(
    queries: Sequence[Query],
    *,
    collection: str = DEFAULT_COLLECTION,
    k: int = 10,
    min_score: float | None = None,
    bucket: str = "",
    prefix: str = "",
    metadata: Mapping[str, str] | None = None,
    where: Fields | None = None,
    with_vector: bool = False,
    group_by: str = "",
    embedding: str = "",
    purpose: str = "",
    case: str = "",
    offence: str = "",
    authorisation: str = "",
    authority: str = "",
    on_behalf_of: str = "",
) -> Call[SearchResult]:
    """An answer for each of 1 to 100 examples, in order. An example that cannot be read costs no other."""
    stated = stated_headers(purpose, case, offence, authorisation, authority, on_behalf_of)
    options = _options_json(
        k, min_score, with_vector, group_by, embedding, _filter_json(bucket, prefix, metadata, where)
    )
    body = json_body({"queries": [query_json(query) for query in queries], **options})
    return _search_call(f"{collection_path(collection)}/search/batch", body, {**JSON_HEADERS, **stated})


def _filter_json(
    bucket: str, prefix: str, metadata: Mapping[str, str] | None, where: Fields | None
) -> Fields:
    plain: Fields = {"bucket": bucket, "prefix": prefix, "metadata": dict(metadata or {})}
    return {**plain, "where": where} if where else plain


def _options_json(
    k: int, min_score: float | None, with_vector: bool, group_by: str, embedding: str, where: Fields
) -> Fields:
    given = {"k": k, "min_score": min_score, "filter": where, "embedding": embedding or None}
    return given | {"with_vector": with_vector or None, "group_by": group_by or None}


def _search_call(
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    params: Mapping[str, str] | None = None,
) -> Call[SearchResult]:
    return Call(
        method="POST",
        path=path,
        params=params or {},
        headers=headers,
        body=body,
        read=reader_of(SearchResult),
    )
