"""What a policy of faces says where nobody has said it, and what it must say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.errors import ArgumentError
from pipeline.types import CollectionPolicy

FACE_DEFAULTS: Mapping[str, Any] = {
    "min_similarity": 99.0,
    "verifications": 2,
    "retention_days": 365,  # the AI Act wants six months at least, and reports are of a year
}
"""For each field, what a policy of faces has if it is left out. Whoever wants less needs a second person."""


def as_strict_as_defaults(policy: CollectionPolicy) -> CollectionPolicy:
    """The policy with the defaults in their fields."""
    return replace(policy, **FACE_DEFAULTS)


def check_face_policy(policy: CollectionPolicy) -> None:
    """Raises ArgumentError: it is of faces, and does not say what for or by whom they are searched."""
    if not policy.faces:
        return
    if not policy.purposes:
        raise ArgumentError("a policy of faces needs purposes, since nobody may search without one")
    if not policy.keys and not policy.roles:
        raise ArgumentError("a policy of faces needs keys or roles, since nobody may search otherwise")
