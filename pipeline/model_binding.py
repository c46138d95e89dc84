"""Invariant: vectors of two models never mix. The one check, and its words."""

from pipeline.errors import ModelMismatchError
from pipeline.types import CollectionInfo, ModelSpec


def check_binding(info: CollectionInfo, spec: ModelSpec) -> None:
    """Raises ModelMismatchError, naming both models, unless the collection holds this model's vectors."""
    if info.fingerprint != spec.fingerprint:
        raise ModelMismatchError(
            f"collection {info.name} holds vectors of {info.model_name} ({info.fingerprint[:8]}), "
            f"the model given is {spec.name} ({spec.fingerprint[:8]}); "
            f"use the collection's own model, or another collection"
        )
