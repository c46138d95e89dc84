"""Make a collection."""

from pipeline.errors import TargetError
from pipeline.names import check_collection_name
from pipeline.ports import PolicyBook, VectorIndex
from pipeline.service.access import Caller, Permission, require
from pipeline.types import CollectionInfo, ModelSpec


def create_collection(
    name: str, spec: ModelSpec, index: VectorIndex, policies: PolicyBook, caller: Caller
) -> CollectionInfo:
    """A collection for the vectors of one model. Safe to run twice.

    Raises:
        ArgumentError: no collection can have this name.
        ModelMismatchError: it is there, and belongs to another model.
        TargetError: it is for faces, and has no policy.
    """
    require(caller, Permission.WRITE)
    check_policy(check_collection_name(name), spec, policies)
    return index.create_collection(name, spec)


def check_policy(name: str, spec: ModelSpec, policies: PolicyBook | None) -> None:
    """Persons can be searched for only where it is said by whom, and what for.

    Args:
        policies: None where none are known. No collection of faces can be made there.

    Raises:
        TargetError: the model is one for faces, and no policy of faces is in force for this name.
    """
    if not spec.has_views:
        return
    version = policies.in_force(name) if policies else None
    if version is not None and version.policy.faces:
        return
    found = "has no policy" if version is None else f"its policy (version {version.version}) is not"
    raise TargetError(
        f"collection {name!r} is for faces (model {spec.name!r}) and {found}. Set one first: "
        f'`pictor policies set {name} FILE` with "faces": true in the file, see docs/how-to/faces.md'
    )
