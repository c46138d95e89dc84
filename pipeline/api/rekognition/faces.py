"""IndexFaces, ListFaces, DeleteFaces."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Request

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.cursors import cursors_of
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import collection_of
from pipeline.api.rekognition.paging import read_token
from pipeline.api.rekognition.pictures import read_picture, source_of
from pipeline.api.rekognition.quality import reasons_against
from pipeline.api.rekognition.shapes import Shape, compared_face, face, version_at
from pipeline.ports.image_rows import MAX_VIEWS, image_id_of_row
from pipeline.search.persons import owners_of
from pipeline.service.access import Caller, Permission, require
from pipeline.service.face_ids import face_id_of
from pipeline.service.faces import permitted_target
from pipeline.service.index_faces import FacesToIndex, LeftOut, find_faces, remove_faces
from pipeline.service.persons import show_person
from pipeline.types import CollectionRef, IndexRow, place_of

router = APIRouter(prefix=FOLDER)

IMAGES_AT_ONCE = 200  # of a listing


@router.post("/IndexFaces")
def index(body: Annotated[m.IndexFaces, m.members(m.IndexFaces)], ports: Ports, caller: Asks) -> Shape:
    """The largest faces of a picture, at once. The same picture with the same external id changes nothing."""
    require(caller, Permission.WRITE)  # before the picture is read
    wanted = FacesToIndex(
        collection=collection_of(body.CollectionId),
        external_id=body.ExternalImageId,
        source=source_of(body.Image),
        most=min(body.MaxFaces, MAX_VIEWS),
        left_out=lambda metadata: reasons_against(metadata, body.QualityFilter),
    )
    found = ports.index_faces(read_picture(body.Image, ports, caller), wanted, caller)
    version = version_at(found.target, ports.index)
    users = owners_of(found.rows, found.target, ports.persons)  # of a picture that comes again
    return {
        "FaceRecords": [_record(row, version, users.get(row.id)) for row in found.rows],
        "UnindexedFaces": [_unindexed(each) for each in found.left_out],
        "FaceModelVersion": version,
    }


def _record(row: IndexRow, version: str, user_id: str | None) -> Shape:
    place = place_of(row.metadata, width=row.width, height=row.height)
    assert place is not None, "it was just written"
    return {"Face": face(row, version, user_id), "FaceDetail": compared_face(row.metadata, place)}


def _unindexed(left: LeftOut) -> Shape:
    assert left.face.face is not None, "pictures of this collection's model show faces"
    detail = compared_face(left.face.metadata, left.face.face)
    return {"Reasons": list(left.reasons), "FaceDetail": detail}


@router.post("/ListFaces")
def list_faces(
    body: Annotated[m.ListFaces, m.members(m.ListFaces)], ports: Ports, caller: Asks, request: Request
) -> Shape:
    """By id, of all faces, of those that are named or of those of a user."""
    name = collection_of(body.CollectionId)
    target = permitted_target(name, Permission.READ, ports.search_ports(), caller)
    cursors, of = cursors_of(request), f"rekognition\0{caller.tenant}\0{target.generation}"
    version, most = version_at(target, ports.index), body.MaxResults or m.MAX_PAGE
    after = read_token(body.NextToken, cursors, of=of)
    rows = _listed(body, after, target, ports, caller)
    page = list(islice(rows, most))
    users = owners_of(page, target, ports.persons)
    made: Shape = {
        "Faces": [face(row, version, users.get(row.id)) for row in page],
        "FaceModelVersion": version,
    }
    has_more = next(rows, None) is not None
    return made | ({"NextToken": cursors.sign(page[-1].id, of=of)} if has_more else {})


def _listed(
    body: m.ListFaces, after: str, target: CollectionRef, ports: Backend, caller: Caller
) -> Iterator[IndexRow]:
    if body.UserId is None and body.FaceIds is None:
        return _rows_after(after, target, ports)
    if body.UserId is None:
        return iter(find_faces(body.FaceIds or [], target, ports.search_ports()).values())
    _, rows = show_person(target.name, body.UserId, ports.search_ports(), caller)
    wanted = None if body.FaceIds is None else set(body.FaceIds)
    return (row for row in rows if row.id > after and (wanted is None or face_id_of(row.id) in wanted))


def _rows_after(row_id: str, target: CollectionRef, ports: Backend) -> Iterator[IndexRow]:
    last = image_id_of_row(row_id)
    if last:
        of_last = ports.index.get_images(target, [last]).get(last, ())
        yield from (row for row in of_last if row.id > row_id)
    images = ports.index.list_images(target, start_after=last)
    while some := [image.ref.image_id for image in islice(images, IMAGES_AT_ONCE)]:
        found = ports.index.get_images(target, some)
        for image_id in some:
            yield from found.get(image_id, ())


@router.post("/DeleteFaces")
def delete_faces(
    body: Annotated[m.DeleteFaces, m.members(m.DeleteFaces)], ports: Ports, caller: Asks
) -> Shape:
    """Those of a user stay, and those of a job's picture of several: the next job would bring them back."""
    name = collection_of(body.CollectionId)
    target = permitted_target(name, Permission.READ, ports.search_ports(), caller)
    found = find_faces(body.FaceIds, target, ports.search_ports())
    users = owners_of([*found.values()], target, ports.persons)
    free = {face_id: row for face_id, row in found.items() if row.id not in users}
    kept = remove_faces(
        [*free.values()],
        target,
        ports.search_ports(),
        ports.ledger,
        ports.uploads,
        caller,
        driver=ports.driver,
    )
    stays = {row.id for row in kept}
    if stays:
        raise AwsError(
            "InvalidParameterException",
            f"{len(stays)} of these faces came by a job with a picture of several faces, and stay; delete "
            "the image from the collection instead. All others are deleted",
        )
    wanted = list(dict.fromkeys(body.FaceIds))
    return {
        "DeletedFaces": [face_id for face_id in wanted if face_id in free],
        "UnsuccessfulFaceDeletions": [
            _undeleted(face_id, users[found[face_id].id] if face_id in found else None)
            for face_id in wanted
            if face_id not in free
        ],
    }


def _undeleted(face_id: str, user_id: str | None) -> Shape:
    if user_id is None:
        return {"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]}
    return {"FaceId": face_id, "UserId": user_id, "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
