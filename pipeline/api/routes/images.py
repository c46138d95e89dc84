"""One stored image: its row, and a small picture."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.idempotency import IdempotencyKey, is_same, job_id_of, key_reused
from pipeline.api.image_bodies import AcceptedImage, ImageBody, NewImage
from pipeline.api.job_bodies import JobBody
from pipeline.errors import ConflictError
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import Caller
from pipeline.service.answers import job_json
from pipeline.service.images import remove_image, show_image
from pipeline.service.index_image import (
    ONE_IMAGE,
    StoredPicture,
    find_picture,
    keep_picture,
    submission_of,
)
from pipeline.service.show import find_job_if_any
from pipeline.service.small_picture import small_picture
from pipeline.types import CollectionInfo, outline_of

router = APIRouter(prefix="/v1/collections/{collection}/images", tags=["images"])

THUMBNAIL_MAX_AGE_S = 3600  # the address names a version, so a changed picture has another one


@router.post("", status_code=202)
def index_object(
    collection: str,
    body: NewImage,
    ports: Ports,
    caller: Asks,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> AcceptedImage:
    """Index an object of the store in its present version. The job of this image runs after the answer."""
    info = find_collection(collection, ports.index)
    bucket, key = body.object.bucket, body.object.key
    ports.places.check_object(bucket, key)
    picture = find_picture(bucket, key, collection=info.name, store=ports.store, caller=caller)
    return _accepted(picture, info, ports, caller, response, idempotency_key)


@router.post("/upload", status_code=202)
def index_upload(
    collection: str,
    picture: Annotated[bytes, Body(media_type="application/octet-stream", description="Of any known format")],
    ports: Ports,
    caller: Asks,
    response: Response,
    idempotency_key: IdempotencyKey = "",
) -> AcceptedImage:
    """Keep the picture that is the body of the request, and index it.

    It is kept in the place that PICTOR_UPLOADS names, under the SHA-256 of its bytes: the same picture twice
    is one image.
    """
    info = find_collection(collection, ports.index)
    if ports.uploads is None:
        raise ConflictError("this service keeps no pictures: whoever runs it can set PICTOR_UPLOADS")
    with ports.decoding:
        kept = keep_picture(
            picture,
            collection=info.name,
            place=ports.uploads,
            store=ports.store,
            limits=ports.limits,
            caller=caller,
        )
    return _accepted(kept, info, ports, caller, response, idempotency_key)


@router.get("/{image_id}")
def show(collection: str, image_id: str, ports: Ports, caller: Asks) -> ImageBody:
    """The row of one image."""
    row = show_image(image_id, collection, ports.index, caller)
    return ImageBody(
        id=row.id,
        bucket=row.ref.bucket,
        key=row.ref.key,
        etag=row.ref.etag,
        size_bytes=row.ref.size_bytes,
        width=row.width,
        height=row.height,
        indexed_at=row.indexed_at.isoformat(),
        metadata=dict(row.metadata),
    )


@router.get(
    "/{image_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "JPEG, upright"}},
)
def thumbnail(
    collection: str,
    image_id: str,
    ports: Ports,
    caller: Asks,
    side_px: Annotated[int, Query(ge=16, le=1024, description="Longer side")] = 220,
    only_face: Annotated[bool, Query(description="Where the row is a face, that face, upright")] = False,
) -> Response:
    """A small picture of the version that is indexed. One that has changed since is not shown."""
    row = show_image(image_id, collection, ports.index, caller)
    face = outline_of(row.metadata, width=row.width, height=row.height) if only_face else None
    with ports.decoding:
        body = small_picture(
            row.ref,
            collection=collection,
            store=ports.store,
            limits=ports.limits,
            caller=caller,
            side_px=side_px,
            face=face,
        )
    # A browser keeps it for who is signed in now, and not for the next one.
    headers = {"cache-control": f"private, max-age={THUMBNAIL_MAX_AGE_S}", "vary": "Authorization, Cookie"}
    return Response(body, media_type="image/jpeg", headers=headers)


@router.delete("/{image_id}", status_code=204)
def remove(collection: str, image_id: str, ports: Ports, caller: Asks) -> None:
    """Take one image out of the index. While its object is in its source, the next job brings it back."""
    again = remove_image(
        image_id, collection, ports.index, ports.ledger, ports.answers_to, caller, driver=ports.driver
    )
    for job_id in again:
        ports.runner.start(job_id)


def _accepted(
    picture: StoredPicture,
    info: CollectionInfo,
    ports: Backend,
    caller: Caller,
    response: Response,
    idempotency_key: str,
) -> AcceptedImage:
    wanted = submission_of(picture, collection=info.name)
    given_id = job_id_of(idempotency_key, caller, begins=ONE_IMAGE)
    job_id = given_id or f"{ONE_IMAGE}{secrets.token_hex(8)}"
    earlier = find_job_if_any(job_id, ports.ledger, caller) if given_id else None
    job = earlier or ports.submit(wanted, info.model_address, caller, job_id=job_id)[0]
    if not is_same(job, wanted):
        raise key_reused(job)
    response.headers["location"] = f"/v1/jobs/{job.job_id}"
    return AcceptedImage(
        id=picture.image_id,
        bucket=picture.bucket,
        key=picture.key,
        job=JobBody.model_validate(job_json(job)),
    )
