"""One stored image: its row, and a small picture."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from pipeline.api.backend import Asks, Ports
from pipeline.api.bodies import ImageBody
from pipeline.service.images import remove_image, show_image, thumbnail_of

router = APIRouter(prefix="/v1/collections/{collection}/images", tags=["images"])

THUMBNAIL_MAX_AGE_S = 3600  # the address names a version, so a changed picture has another one


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
) -> Response:
    """A small picture of the version that is indexed. One that has changed since is not shown."""
    row = show_image(image_id, collection, ports.index, caller)
    with ports.decoding:
        body = thumbnail_of(row, ports.store, ports.limits, side_px=side_px)
    headers = {"cache-control": f"private, max-age={THUMBNAIL_MAX_AGE_S}"}
    return Response(body, media_type="image/jpeg", headers=headers)


@router.delete("/{image_id}", status_code=204)
def remove(collection: str, image_id: str, ports: Ports, caller: Asks) -> None:
    """Take one image out of the index. While its object is in its source, the next job brings it back."""
    again = remove_image(image_id, collection, ports.index, ports.ledger, caller, driver=ports.driver)
    for job_id in again:
        ports.runner.start(job_id)
