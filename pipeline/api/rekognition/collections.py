"""CreateCollection, DescribeCollection, ListCollections, DeleteCollection."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request

from pipeline.api.aws.errors import AwsError
from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Backend, Ports
from pipeline.api.cursors import cursors_of
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import arn_of, collection_of, id_of_collection, in_ids
from pipeline.api.rekognition.paging import read_token
from pipeline.api.rekognition.shapes import Shape, model_version, version_of
from pipeline.errors import ConfigError, TargetError
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.service import create, delete, show
from pipeline.service.access import Caller, Permission, require
from pipeline.service.face_pictures import forget_pictures
from pipeline.service.persons import count_persons
from pipeline.service.policies import set_policy
from pipeline.service.policy_body import read_policy
from pipeline.service.tags import check_tags, set_tags
from pipeline.types import CollectionInfo, PolicyState

router = APIRouter(prefix=FOLDER)


@router.post("/CreateCollection")
def create_collection(
    body: Annotated[m.CreateCollection, m.members(m.CreateCollection)], ports: Ports, caller: Asks
) -> Shape:
    """A collection of faces needs a policy before it is there."""
    require(caller, Permission.WRITE)
    name = collection_of(body.CollectionId)
    check_tags(body.Tags)
    if ports.index.get_collection(name) is not None:
        raise AwsError("ResourceAlreadyExistsException", f"collection {body.CollectionId!r} is there already")
    spec = ports.model_for(ports.settings.model or DEFAULT_MODEL, name).spec
    if not spec.has_views:
        raise AwsError(
            "InvalidParameterException",
            f"the model of this service, {spec.name!r}, is one of whole images: whoever runs it sets "
            "PICTOR_MODEL to a face model, see docs/how-to/faces.md",
        )
    _set_policy_of_template(name, ports, caller)
    try:
        create.create_collection(name, spec, ports.index, ports.policies, caller)
    except TargetError as err:
        hint = "or whoever runs the service names a policy for new collections with PICTOR_REKOGNITION_POLICY"
        raise AwsError("InvalidParameterException", in_ids(f"{err}; {hint}")) from err
    if body.Tags:
        set_tags(name, body.Tags, ports.index, ports.persons, ports.answers_to, caller)
    return {
        "StatusCode": 200,
        "CollectionArn": arn_of(body.CollectionId, caller),
        "FaceModelVersion": model_version(spec.name, spec.fingerprint),
    }


def _set_policy_of_template(name: str, ports: Backend, caller: Caller) -> None:
    """The policy of new collections, unless this one has its own, by whoever may set one.

    Raises:
        AwsError: it allows more than policies of faces do, and nobody else has agreed to it.
    """
    template = ports.settings.rekognition_policy
    if template is None or ports.policies.in_force(name) is not None:
        return
    newest = next(iter(ports.policies.history(name)), None)
    if newest is None or newest.state is not PolicyState.PROPOSED:
        policy = read_policy(_text_of(template), of_faces=True)
        newest = set_policy(name, policy, ports.answers_to, caller)
    if newest.state is PolicyState.PROPOSED:
        raise AwsError(
            "AccessDeniedException",
            f"version {newest.version} of the policy of {id_of_collection(name)!r} is looser than policies "
            f"of faces are, in {', '.join(newest.loosens)}. Another person approves it, then create the "
            "collection",
        )


def _text_of(template: Path) -> bytes:
    try:
        return template.read_bytes()
    except OSError as err:
        raise ConfigError(
            f"PICTOR_REKOGNITION_POLICY: {template} cannot be read: {type(err).__name__}"
        ) from err


@router.post("/DescribeCollection")
def describe_collection(
    body: Annotated[m.OfCollection, m.members(m.OfCollection)], ports: Ports, caller: Asks
) -> Shape:
    """`CreationTimestamp` is when the first policy of the collection was written."""
    info = show.show_collection(collection_of(body.CollectionId), ports.index, caller)
    first = [version.proposed_at for version in ports.policies.history(info.name)][-1:]
    made: Shape = {
        "FaceCount": info.rows,
        "UserCount": count_persons(info.name, ports.search_ports(), caller),
        "FaceModelVersion": version_of(info),
        "CollectionARN": arn_of(body.CollectionId, caller),
    }
    return made | ({"CreationTimestamp": first[0].timestamp()} if first else {})


@router.post("/ListCollections")
def list_collections(
    body: Annotated[m.ListCollections, m.members(m.ListCollections)],
    ports: Ports,
    caller: Asks,
    request: Request,
) -> Shape:
    """Collections of faces, by name."""
    cursors, of = cursors_of(request), f"rekognition\0{caller.tenant}"
    after = read_token(body.NextToken, cursors, of=of)
    found = [info for info in show.list_collections(ports.index, caller) if _is_behind(info, after)]
    page = found[: body.MaxResults or m.MAX_PAGE]
    made: Shape = {
        "CollectionIds": [id_of_collection(info.name) for info in page],
        "FaceModelVersions": [version_of(info) for info in page],
    }
    return made | ({"NextToken": cursors.sign(page[-1].name, of=of)} if len(page) < len(found) else {})


def _is_behind(info: CollectionInfo, name: str) -> bool:
    return info.has_views and info.name > name


@router.post("/DeleteCollection")
def delete_collection(
    body: Annotated[m.OfCollection, m.members(m.OfCollection)], ports: Ports, caller: Asks
) -> Shape:
    """With all its faces and users, and the pictures that were kept with them. Its policy stays."""
    name = collection_of(body.CollectionId)
    delete.drop_collection(name, ports.index, ports.ledger.book, ports.persons, ports.answers_to, caller)
    forget_pictures(name, ports.uploads, ports.store, caller)
    return {"StatusCode": 200}
