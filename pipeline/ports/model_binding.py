"""A collection and its one model. Invariant: vectors of two models never mix.

The rules stand here alone, and so do their words, whoever finds them broken.
"""

from collections.abc import Sequence

from pipeline.errors import ConfigError, ModelMismatchError, NotFoundError
from pipeline.ports import VectorIndex
from pipeline.types import CollectionInfo, ModelSpec

DEFAULT_MODEL = "builtin"


def missing_collection(name: str, others: Sequence[str] | None = None) -> str:
    """The error for a collection that does not exist. `others` are those that exist, if they are known."""
    said = f"collection {name!r} does not exist"
    if others is None:
        return f"{said}; `pictor collections list` shows those that do"
    if not others:
        return f"{said}; there is none yet, `pictor ingest SOURCE` makes one"
    return f"{said}; there are: {', '.join(others)}"


def find_collection(name: str, index: VectorIndex) -> CollectionInfo:
    """Raises NotFoundError, and names the collections that are there."""
    info = index.get_collection(name)
    if info is None:
        raise NotFoundError(missing_collection(name, [other.name for other in index.list_collections()]))
    return info


def check_binding(collection: str, model_name: str, fingerprint: str, spec: ModelSpec) -> None:
    """Raises ModelMismatchError, naming both models, unless the collection holds this model's vectors."""
    if fingerprint != spec.fingerprint:
        raise ModelMismatchError(
            f"collection {collection!r} holds vectors of model {model_name!r} ({fingerprint[:8]}), "
            f"not of {spec.name!r} ({spec.fingerprint[:8]}); use its own model, or another collection"
        )


def choose_model(requested: str, existing: CollectionInfo | None) -> str:
    """The requested model, else the collection's, else the builtin one."""
    if requested:
        return requested
    return existing.model_address if existing is not None else DEFAULT_MODEL


def choose_precision(requested: str, existing: CollectionInfo | None) -> str:
    """The requested precision, else that of the collection's record.

    Raises:
        ConfigError: bfloat16 was asked for, and the record promises float32.
    """
    recorded = existing.precision if existing is not None else requested
    if existing is not None and (requested, recorded) == ("bfloat16", "float32"):
        raise ConfigError(
            f"collection {existing.name!r} holds vectors computed in float32; "
            "set PICTOR_PRECISION to auto or float32, or use another collection"
        )
    return recorded if requested == "auto" else requested
