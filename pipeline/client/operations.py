"""Every operation of the service: the request that it needs, and how the answer is read.

`Pictor` and `AsyncPictor` have a method of the same name and arguments for each of these functions. Names of
collections and ids of jobs may be any text; they are quoted here.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline.client.calls import (
    JSON_HEADERS,
    Call,
    Fields,
    Page,
    Pages,
    json_body,
    new_key,
    nothing,
    quoted,
    read_json,
)
from pipeline.client.queries import Query, picture_of, query_json
from pipeline.client.results import (
    AcceptedImage,
    AnswerObject,
    AuditEntry,
    Collection,
    Embedding,
    Estimate,
    Failure,
    Generation,
    Image,
    Job,
    Match,
    Retried,
    Review,
    SearchResult,
    SearchState,
    ShownMatch,
    read_all,
    reader_of,
)
from pipeline.errors import ArgumentError

A = TypeVar("A", bound=AnswerObject)

DEFAULT_COLLECTION = "images"
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


def list_collections() -> Call[list[Collection]]:
    """All collections, by name."""
    return Call(
        method="GET",
        path="/v1/collections",
        read=lambda body: list(read_all(Collection, read_json(body).get("collections"))),
    )


def show_collection(name: str) -> Call[Collection]:
    """Raises NotFoundError, and names the collections that are there."""
    return Call(method="GET", path=collection_path(name), read=reader_of(Collection))


def list_generations(name: str) -> Call[list[Generation]]:
    """The vectors of each model that a collection has. Raises NotFoundError."""
    return Call(
        method="GET",
        path=f"{collection_path(name)}/generations",
        read=lambda body: list(read_all(Generation, read_json(body).get("generations"))),
    )


def create_collection(name: str, *, model: str = "builtin") -> Call[Collection]:
    """A collection for the vectors of one model. The same call twice makes one.

    Args:
        model: builtin, torchvision/NAME, timm/NAME or hf/ORG/NAME.

    Raises:
        ModelMismatchError: it is there, and another model's.
    """
    return Call(
        method="POST",
        path="/v1/collections",
        headers=JSON_HEADERS | {"idempotency-key": new_key()},
        body=json_body({"name": name, "model": model}),
        read=reader_of(Collection),
    )


def drop_collection(name: str) -> Call[None]:
    """Delete a collection and all its vectors. The images themselves are not touched."""
    # Not repeatable: another may have made one of the same name since.
    return Call(method="DELETE", path=collection_path(name), read=nothing, is_repeatable=False)


def submit_job(
    source: str,
    *,
    collection: str = "",
    model: str = "",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    keep_missing: bool = False,
    max_delete_share: float | None = None,
    retry_failed: bool = False,
    batch_items: int = 0,
    restart: bool = False,
    resume: bool = False,
    idempotency_key: str = "",
) -> Call[Job]:
    """Bring a collection in step with a source. The job runs after the answer.

    Args:
        source: s3://bucket/prefix, or the absolute path of a folder that the service may read.
        collection, model: "" for those of the service.
        max_delete_share: 0..1; when more of the source's indexed objects are gone, none is removed.
        batch_items: objects per batch, 0 for the service's own number.
        restart: cancel an unfinished job of the same source, and begin anew.
        resume: go on with an unfinished job of the same source, if there is one; `Job.resumed` tells.
        idempotency_key: the same key twice is one job. "" makes a new one for this call, so that the client
            can send it again. Give your own for a submission that you may repeat. Not with `resume`.

    Raises:
        ConflictError: another submission has had this key.
    """
    # With a key, a job is new in any case. Without one, the same request is the same unfinished job.
    key = {} if resume else {"idempotency-key": idempotency_key or new_key()}
    return Call(
        method="POST",
        path="/v1/jobs",
        headers=JSON_HEADERS | key,
        body=json_body(
            {
                "source": source,
                "collection": collection,
                "model": model,
                "include": list(include),
                "exclude": list(exclude),
                "keep_missing": keep_missing,
                "max_delete_share": max_delete_share,
                "retry_failed": retry_failed,
                # Only when asked for: a service of the version before refuses fields that it does not know.
                "batch_items": batch_items or None,
                "restart": restart or None,
            }
        ),
        read=reader_of(Job),
    )


def estimate_job(
    source: str,
    *,
    collection: str = "",
    model: str = "",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    retry_failed: bool = False,
) -> Call[Estimate]:
    """What `submit_job` with these arguments would take. Nothing is made, and no object is read."""
    fields = {
        "source": source,
        "collection": collection,
        "model": model,
        "include": list(include),
        "exclude": list(exclude),
        "retry_failed": retry_failed,
    }
    return Call(
        method="POST",
        path="/v1/jobs/estimate",
        headers=JSON_HEADERS,
        body=json_body(fields),
        read=reader_of(Estimate),
    )


def list_jobs(*, page_items: int = 50, of_one_image: bool = False) -> Pages[Job]:
    """Jobs, newest first.

    Args:
        page_items: 1..1000 are asked for at once.
        of_one_image: also jobs of images that were indexed one by one.
    """
    params = {"of_one_image": "true"} if of_one_image else {}
    return Pages(call=lambda token: page_of("/v1/jobs", "jobs", Job, page_items, token, params))


def show_job(job_id: str) -> Call[Job]:
    """One job: its state and counts, where the time went and what held it up. Raises NotFoundError."""
    return Call(method="GET", path=job_path(job_id), read=reader_of(Job))


def job_failures(job_id: str, *, page_items: int = 100) -> Pages[Failure]:
    """Each object that failed, by key. Args: `page_items`, 1..1000, are asked for at once."""
    return Pages(call=partial(page_of, f"{job_path(job_id)}/failures", "failures", Failure, page_items))


def pause_job(job_id: str) -> Call[Job]:
    """Plan nothing more for now. Batches that are queued are finished. Raises ConflictError."""
    return _move(job_id, "pause", Job)


def cancel_job(job_id: str) -> Call[Job]:
    """Stop a job for good. What is indexed stays. Raises ConflictError."""
    return _move(job_id, "cancel", Job)


def resume_job(job_id: str) -> Call[Job]:
    """Let a paused or failed job go on, or a running one that nobody runs. Raises ConflictError."""
    return _move(job_id, "resume", Job)


def retry_job(job_id: str) -> Call[Retried]:
    """Try the objects again that failed, and only those. Raises ConflictError."""
    return _move(job_id, "retry", Retried)


def index_object(
    bucket: str, key: str, *, collection: str = DEFAULT_COLLECTION, idempotency_key: str = ""
) -> Call[AcceptedImage]:
    """Index one object of the store in its present version. Its job runs after the answer.

    Raises:
        NotFoundError: no such object or collection.
    """
    return Call(
        method="POST",
        path=f"{collection_path(collection)}/images",
        headers=JSON_HEADERS | {"idempotency-key": idempotency_key or new_key()},
        body=json_body({"object": {"bucket": bucket, "key": key}}),
        read=reader_of(AcceptedImage),
    )


def index_picture(
    picture: Path | bytes, *, collection: str = DEFAULT_COLLECTION, idempotency_key: str = ""
) -> Call[AcceptedImage]:
    """Send a picture, have the service keep it, and index it. The same picture twice is one image.

    Raises:
        ConflictError: the service keeps no pictures.
        ImageError: it cannot be read.
    """
    headers = {"content-type": "application/octet-stream", "idempotency-key": idempotency_key or new_key()}
    return Call(
        method="POST",
        path=f"{collection_path(collection)}/images/upload",
        headers=headers,
        body=picture_of(picture),
        read=reader_of(AcceptedImage),
    )


def show_image(image_id: str, *, collection: str = DEFAULT_COLLECTION) -> Call[Image]:
    """The row of one stored image. Raises NotFoundError."""
    return Call(method="GET", path=_image_path(collection, image_id), read=reader_of(Image))


def thumbnail(
    image_id: str, *, collection: str = DEFAULT_COLLECTION, side_px: int = 220, only_face: bool = False
) -> Call[bytes]:
    """A JPEG of the version that is indexed, upright.

    Args:
        side_px: of its longer side, 16..1024.
        only_face: where the row is a face, that face alone.
    """
    return Call(
        method="GET",
        path=f"{_image_path(collection, image_id)}/thumbnail",
        params={"side_px": str(side_px), "only_face": str(only_face).lower()},
        read=bytes,
    )


def remove_image(image_id: str, *, collection: str = DEFAULT_COLLECTION) -> Call[None]:
    """Take one image out of the index. While its object is in its source, the next job brings it back."""
    return Call(method="DELETE", path=_image_path(collection, image_id), read=nothing, is_repeatable=False)


def embed(pictures: Sequence[Path | bytes], *, model: str) -> Call[list[Sequence[float]]]:
    """The vector of each of 1 to 100 pictures, of unit length, in their order. Pictures are not kept.

    Args:
        model: the name of a collection's model, as `Collection.model` has it.

    Raises:
        ImageError: one of them cannot be read.
    """
    images = [base64.b64encode(picture_of(picture)).decode() for picture in pictures]
    return Call(
        method="POST",
        path="/v1/embeddings",
        headers=JSON_HEADERS,
        body=json_body({"model": model, "input": images}),
        read=_read_vectors,
    )


def search_audit(
    *,
    kind: str = "",
    actor: str = "",
    case: str = "",
    purpose: str = "",
    collection: str = "",
    probe: Path | bytes | str = "",
    image: str = "",
    candidate: str = "",
    decision: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    page_items: int = 100,
) -> Pages[AuditEntry]:
    """Entries of the log, newest first, for a key with the role `auditor`. Each page is an entry of its own.

    Args:
        probe: a picture that was searched with, or its SHA-256 in hex. A picture is not sent.
        image: the id of a stored image that was searched with. Given with `probe`, one of the two must hold.
        candidate: the id of an image that was among the hits.
        decision: "allowed" or "refused".
        since, until: by the start of the act; `until` is out.
    """
    given = {
        "kind": kind,
        "actor": actor,
        "case": case,
        "purpose": purpose,
        "collection": collection,
        "probe": probe if isinstance(probe, str) else hashlib.sha256(picture_of(probe)).hexdigest(),
        "image": image,
        "candidate": candidate,
        "decision": decision,
        "since": since.isoformat() if since else "",
        "until": until.isoformat() if until else "",
    }
    params = {name: text for name, text in given.items() if text}
    return Pages(
        call=lambda token: page_of("/v1/audit/entries", "entries", AuditEntry, page_items, token, params)
    )


def list_verifications(*, collection: str = "", page_items: int = 50) -> Pages[Match]:
    """Matches that you may verify, the oldest search first, for a key with the role `verifier`.

    Args:
        collection: "" for all that the key reaches.
        page_items: 1..1000, are asked for at once.
    """
    params = {"collection": collection} if collection else {}
    return Pages(
        call=lambda token: page_of("/v1/verifications", "verifications", Match, page_items, token, params)
    )


def show_verification(match_id: str) -> Call[ShownMatch]:
    """One match. What others decided is there once it is closed. Raises NotFoundError."""
    return Call(method="GET", path=match_path(match_id), read=reader_of(ShownMatch))


def probe_picture(match_id: str, *, side_px: int = 480, only_face: bool = False) -> Call[bytes]:
    """A JPEG of what was searched with.

    Args:
        side_px: of its longer side, 16..1024.
        only_face: the face that was searched for alone.
    """
    path = f"{match_path(match_id)}/probe"
    params = {"side_px": str(side_px), "only_face": str(only_face).lower()}
    return Call(method="GET", path=path, params=params, read=bytes)


def decide_verification(
    match_id: str, decision: str, *, reason: str, on_behalf_of: str = ""
) -> Call[ShownMatch]:
    """Say whether a match is one. It cannot be changed. The same decision twice is one.

    Args:
        decision: "confirm", "reject" or "cannot_tell".
        on_behalf_of: the person who decides, where that is not the holder of the key.

    Raises:
        DeniedError: it is the person's own search.
        ConflictError: it is closed, or the person has decided something else.
    """
    return Call(
        method="POST",
        path=f"{match_path(match_id)}/decision",
        headers=JSON_HEADERS | stated_headers("", "", "", "", "", on_behalf_of),
        body=json_body({"decision": decision, "reason": reason}),
        read=reader_of(ShownMatch),
    )


def show_search(receipt: str) -> Call[SearchState]:
    """How far the matches of a search are verified. Raises NotFoundError: nobody verifies them."""
    return Call(method="GET", path=f"/v1/searches/{quoted(receipt)}", read=reader_of(SearchState))


def match_path(match_id: str) -> str:
    return f"/v1/verifications/{quoted(match_id)}"


def audit_report(
    shape: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    format: str = "json",  # noqa: A002 - the service's word
    actor: str = "",
    case: str = "",
    collection: str = "",
    recipient: str = "",
) -> Call[bytes]:
    """A file with what the log says of a period, for a key with the role `auditor`. An entry of its own.

    Args:
        shape: "annual", "extract", "accountability" or "usage".
        since, until: by the start of the act; `until` is out.
        format: "html", "json" or "csv".
        actor, case, collection: what an extract is confined to.
        recipient: to whom you give it.
    """
    given = {
        "since": since.isoformat() if since else "",
        "until": until.isoformat() if until else "",
        "format": format,
        "actor": actor,
        "case": case,
        "collection": collection,
        "recipient": recipient,
    }
    params = {name: text for name, text in given.items() if text}
    return Call(method="GET", path=f"/v1/audit/reports/{quoted(shape)}", params=params, read=bytes)


def audit_review(*, since: datetime | None = None, until: datetime | None = None) -> Call[Review]:
    """What is worth a look in the log, for a key with the role `auditor`. An entry of its own.

    Args:
        since, until: by the start of the act; `until` is out. By default the last 30 days.
    """
    given = {"since": since, "until": until}
    params = {name: moment.isoformat() for name, moment in given.items() if moment}
    return Call(method="GET", path="/v1/audit/review", params=params, read=reader_of(Review))


def collection_path(name: str) -> str:
    return f"/v1/collections/{quoted(name)}"


def job_path(job_id: str) -> str:
    return f"/v1/jobs/{quoted(job_id)}"


def _image_path(collection: str, image_id: str) -> str:
    return f"{collection_path(collection)}/images/{quoted(image_id)}"


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


def stated_headers(
    purpose: str, case: str, offence: str, authorisation: str, authority: str, on_behalf_of: str
) -> dict[str, str]:
    """Why somebody searches, as headers. Raises ArgumentError for a text that no header can hold."""
    given = {
        "purpose": purpose,
        "case": case,
        "offence": offence,
        "authorisation": authorisation,
        "authority": authority,
        "on-behalf-of": on_behalf_of,
    }
    for name, text in given.items():
        if not text.isprintable():
            raise ArgumentError(f"{name}: printable characters are expected, found {text[:80]!r}")
    return {f"x-pictor-{name}": text for name, text in given.items() if text}


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


def _move(job_id: str, move: str, kind: type[A]) -> Call[A]:
    # Not repeatable: the second time it would be refused, as the job is paused already.
    return Call(method="POST", path=f"{job_path(job_id)}/{move}", read=reader_of(kind), is_repeatable=False)


def page_of(
    path: str, name: str, kind: type[A], page_items: int, token: str, given: Mapping[str, str] | None = None
) -> Call[Page[A]]:
    """A page of a list whose entries stand under `name`."""

    def read(body: bytes) -> Page[A]:
        fields = read_json(body)
        return Page(items=read_all(kind, fields.get(name)), next_token=str(fields.get("next_token") or ""))

    params = {"max_results": str(page_items), **(given or {})} | ({"next_token": token} if token else {})
    return Call(method="GET", path=path, params=params, read=read)


def _read_vectors(body: bytes) -> list[Sequence[float]]:
    return [one.embedding for one in read_all(Embedding, read_json(body).get("data"))]
