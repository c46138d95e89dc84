"""Vectors of pictures that come with a request. The pictures are not kept."""

from collections.abc import Sequence

from pipeline.errors import ArgumentError, DeniedError, ImageError, NotFoundError, TargetError
from pipeline.names import shown
from pipeline.ports import ImageLimits, VectorIndex
from pipeline.search.example import Example
from pipeline.search.examples import read_examples
from pipeline.search.query import Bytes
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.search import SearchPorts, sources_of
from pipeline.service.show import list_collections
from pipeline.types import CollectionRef, Reason, Vector


def find_target(model: str, usual: str, index: VectorIndex, caller: Caller) -> CollectionRef:
    """A generation of the model that answers searches. No others: each would be one more model in memory.

    Args:
        model: its name.
        usual: the collection that is looked at first, since that counts no rows.

    Raises:
        NotFoundError: there is none. Those that there are are named.
    """
    require(caller, Permission.SEARCH)
    try:
        target = index.live(usual)
        if index.model_of(target).name == model:
            return target
    except (TargetError, DeniedError):
        pass  # the usual collection need not be there, or be this caller's
    infos = list_collections(index, caller)
    for info in infos:
        if info.model_name == model:
            return info.ref
    names = ", ".join(sorted({info.model_name for info in infos})) or "none"
    raise NotFoundError(f"no collection has vectors of model {shown(model)}; there are: {names}")


def embed_pictures(
    bodies: Sequence[bytes], target: CollectionRef, ports: SearchPorts, limits: ImageLimits, caller: Caller
) -> list[Vector]:
    """A vector [D] of unit length for each picture, by the model of a generation.

    Raises:
        DeniedError: the caller may not search this collection.
        ImageError: a picture cannot be read. The message says which.
    """
    require(caller, Permission.SEARCH)
    require_names(caller, collection=target.name)
    queries = [Bytes(text=f"input[{number}]", body=body) for number, body in enumerate(bodies)]
    examples = read_examples(queries, target, sources_of(target, ports), limits)
    return [_vector_of(query.text, found[0]) for query, found in zip(queries, examples, strict=True)]


def _vector_of(name: str, example: Example) -> Vector:
    if example.vector is not None:
        return example.vector
    detail = f"{name}: {example.error.removeprefix(f'{example.code}: ')}"
    if example.code in tuple(Reason):
        raise ImageError(Reason(example.code), detail)
    raise ArgumentError(detail)
