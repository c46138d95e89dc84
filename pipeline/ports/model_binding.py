"""A generation and its one model. Invariant: vectors of two models never mix.

The rules stand here alone, and so do their words, whoever finds them broken.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from pipeline.errors import (
    ArgumentError,
    ConfigError,
    ConflictError,
    ModelMismatchError,
    NotFoundError,
    TargetError,
)
from pipeline.names import MAIN_EMBEDDING, shown
from pipeline.ports import VectorIndex
from pipeline.types import BoundModel, CollectionInfo, CollectionRef, ModelSpec

T = TypeVar("T")

DEFAULT_MODEL = "builtin"


def missing_collection(name: str, others: Sequence[str] | None = None) -> str:
    """The error for a collection that does not exist. `others` are those that exist, if they are known."""
    said = f"collection {name!r} does not exist"
    if others is None:
        return f"{said}; `pictor collections list` shows those that do"
    if not others:
        return f"{said}; there is none yet, `pictor ingest SOURCE` makes one"
    return f"{said}; there are: {', '.join(others)}"


def missing_generation(ref: CollectionRef, live: CollectionInfo | None) -> TargetError:
    """The error of an operation on a generation that is not there.

    Args:
        live: the generation that answers under that name, if there is one.
    """
    if live is None:
        return TargetError(missing_collection(ref.name))
    return ModelMismatchError(
        f"collection {ref.name!r} holds vectors of model {live.model_name!r} ({live.fingerprint[:8]}) and "
        f"has no generation {ref.fingerprint[:8]}; `pictor collections show {ref.name}` lists those it has"
    )


def find_collection(name: str, index: VectorIndex) -> CollectionInfo:
    """The live generation. Raises NotFoundError, and names the collections that are there."""
    info = index.get_collection(name)
    if info is None:
        raise NotFoundError(missing_collection(name, [other.name for other in index.list_collections()]))
    return info


def find_generation(ref: CollectionRef, index: VectorIndex) -> CollectionInfo:
    """One generation.

    Raises:
        NotFoundError: there is no such collection.
        ModelMismatchError: it has generations of other models only.
    """
    info = index.get_generation(ref)
    if info is None:
        raise missing_generation(ref, find_collection(ref.name, index))
    return info


def find_by_digits(name: str, digits: str, index: VectorIndex) -> CollectionInfo:
    """The generation whose fingerprint begins so.

    Raises:
        NotFoundError: no such collection or generation. Those that are there are named.
        ArgumentError: several begin so.
    """
    there = index.list_generations(name)
    if not there:
        find_collection(name, index)
    found = [info for info in there if info.fingerprint.startswith(digits.lower())]
    if not digits or not found:
        names = ", ".join(f"{info.fingerprint[:8]} ({info.model_name})" for info in there)
        raise NotFoundError(f"collection {name!r} has no generation {digits!r}; there are: {names}")
    if len(found) > 1:
        raise ArgumentError(
            f"{len(found)} generations of collection {name!r} begin with {digits}; give more digits"
        )
    return found[0]


def bound_model(info: CollectionInfo) -> BoundModel:
    beside = {embedding: bound_model(of_it) for embedding, of_it in info.beside.items()}
    return BoundModel(
        name=info.model_name,
        dim=info.dim,
        fingerprint=info.fingerprint,
        reads_text=info.reads_text,
        beside=beside,
    )


def model_of_embedding(target: CollectionRef, embedding: str, index: VectorIndex) -> BoundModel:
    """The model of one embedding of a generation, without counting rows.

    Args:
        embedding: by its name; "" is the first.

    Raises:
        ArgumentError: there is no such embedding. Those there are are named.
        ModelMismatchError, TargetError: as `VectorIndex.check_generation`.
    """
    model = index.model_of(target)
    return _of_embedding(embedding, model, model.beside, target.name)


def info_of_embedding(info: CollectionInfo, embedding: str) -> CollectionInfo:
    """The same of what is known of a generation."""
    return _of_embedding(embedding, info, info.beside, info.name)


def _of_embedding(embedding: str, first: T, beside: Mapping[str, T], collection: str) -> T:
    if not embedding:
        return first
    if embedding not in beside:
        raise unknown_embedding(collection, embedding, beside)
    return beside[embedding]


def check_first(collection: str, embedding: str) -> None:
    """Raises ArgumentError: the name of a further embedding, where each image has one embedding alone."""
    if embedding:
        raise unknown_embedding(collection, embedding, ())


def unknown_embedding(collection: str, embedding: str, known: Iterable[str]) -> ArgumentError:
    """Args: `known` are the names of the embeddings beside the first."""
    names = ", ".join([MAIN_EMBEDDING, *sorted(known)])
    return ArgumentError(f"collection {collection!r} has no embedding {shown(embedding)}; there are: {names}")


def check_binding(info: CollectionInfo, spec: ModelSpec) -> None:
    """Raises ModelMismatchError, naming both models, unless the generation holds this model's vectors."""
    if info.fingerprint != spec.fingerprint:
        raise ModelMismatchError(f"{_two_models(info, spec)}; use its own model, or another collection")


def check_target(info: CollectionInfo, spec: ModelSpec) -> None:
    """The same for who wants to write, and may want a second generation."""
    if info.fingerprint != spec.fingerprint:
        raise ModelMismatchError(
            f"{_two_models(info, spec)}; use its own model or another collection, or fill a second "
            "generation beside it: "
            f"`pictor ingest SOURCE --collection {info.name} --model MODEL --new-generation`"
        )


def refuse_live(ref: CollectionRef) -> ConflictError:
    return ConflictError(
        f"generation {ref.fingerprint[:8]} of collection {ref.name!r} is live; promote another one first, or "
        f"drop the whole collection: `pictor collections drop {ref.name}`"
    )


def _two_models(info: CollectionInfo, spec: ModelSpec) -> str:
    return (
        f"collection {info.name!r} holds vectors of model {info.model_name!r} ({info.fingerprint[:8]}), "
        f"not of {spec.name!r} ({spec.fingerprint[:8]})"
    )


def choose_model(requested: str, existing: CollectionInfo | None) -> str:
    """The requested model, else the collection's, else the builtin one."""
    if requested:
        return requested
    return existing.model_address if existing is not None else DEFAULT_MODEL


def choose_precision(requested: str, existing: CollectionInfo | None) -> str:
    """The requested precision, else that of the collection's record.

    Raises:
        ConfigError: bfloat16 was asked for, and the record promises float32. Or one of both is int8, whose
            vectors are those of another model.
    """
    recorded = existing.precision if existing is not None else requested
    if existing is not None and requested not in ("auto", recorded) and "int8" in (requested, recorded):
        raise ConfigError(
            f"collection {existing.name!r} holds vectors computed in {recorded}, and "
            f"PICTOR_PRECISION is {requested}; set it to auto, or use another collection or generation"
        )
    if existing is not None and (requested, recorded) == ("bfloat16", "float32"):
        raise ConfigError(
            f"collection {existing.name!r} holds vectors computed in float32; "
            "set PICTOR_PRECISION to auto or float32, or use another collection"
        )
    return recorded if requested == "auto" else requested
