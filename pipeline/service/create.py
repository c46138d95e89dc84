"""Make a collection."""

from pipeline.names import check_collection_name
from pipeline.ports import VectorIndex
from pipeline.service.access import Caller, Permission, require
from pipeline.types import CollectionInfo, ModelSpec


def create_collection(name: str, spec: ModelSpec, index: VectorIndex, caller: Caller) -> CollectionInfo:
    """A collection for the vectors of one model. Safe to run twice.

    Raises:
        ArgumentError: no collection can have this name.
        ModelMismatchError: it is there, and belongs to another model.
    """
    require(caller, Permission.WRITE)
    return index.create_collection(check_collection_name(name), spec)
