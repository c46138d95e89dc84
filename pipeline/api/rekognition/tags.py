"""TagResource, UntagResource, ListTagsForResource: for collections, which are all the resources there are."""

from typing import Annotated

from fastapi import APIRouter

from pipeline.api.aws.middleware import FOLDER
from pipeline.api.backend import Asks, Ports
from pipeline.api.rekognition import members as m
from pipeline.api.rekognition.names import collection_of_arn
from pipeline.api.rekognition.shapes import Shape
from pipeline.service import tags

router = APIRouter(prefix=FOLDER)


@router.post("/TagResource")
def tag_resource(
    body: Annotated[m.TagResource, m.members(m.TagResource)], ports: Ports, caller: Asks
) -> Shape:
    """Tags of the same key are changed."""
    name = collection_of_arn(body.ResourceArn, caller)
    tags.set_tags(name, body.Tags, ports.index, ports.persons, ports.answers_to, caller)
    return {}


@router.post("/UntagResource")
def untag_resource(
    body: Annotated[m.UntagResource, m.members(m.UntagResource)], ports: Ports, caller: Asks
) -> Shape:
    """Keys that are not there are no error."""
    name = collection_of_arn(body.ResourceArn, caller)
    tags.remove_tags(name, body.TagKeys, ports.index, ports.persons, ports.answers_to, caller)
    return {}


@router.post("/ListTagsForResource")
def list_tags(
    body: Annotated[m.ListTagsForResource, m.members(m.ListTagsForResource)], ports: Ports, caller: Asks
) -> Shape:
    """All tags of a collection."""
    name = collection_of_arn(body.ResourceArn, caller)
    return {"Tags": dict(tags.list_tags(name, ports.index, ports.persons, caller))}
