"""Which changes of a policy allow more than before, and so need a second person."""

from collections.abc import Callable, Mapping

from pipeline.service.face_policy import as_strict_as_defaults
from pipeline.types import AuthorisationRule, CollectionPolicy

_STRICTNESS = {AuthorisationRule.NONE: 0, AuthorisationRule.WITHIN_48H: 1, AuthorisationRule.EX_ANTE: 2}


def _allows_new(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    return not set(after) <= set(before)


def _purposes(before: CollectionPolicy, after: CollectionPolicy) -> bool:
    # The text counts: a code that means something else now is another purpose.
    return not set(after.purposes) <= set(before.purposes)


def _case_patterns(before: CollectionPolicy, after: CollectionPolicy) -> bool:
    if not before.case_patterns:
        return False
    return not after.case_patterns or _allows_new(before.case_patterns, after.case_patterns)


def _lowers(before: float | None, after: float | None) -> bool:
    return before is not None and (after is None or after < before)


def _max_k(before: CollectionPolicy, after: CollectionPolicy) -> bool:
    return before.max_k is not None and (after.max_k is None or after.max_k > before.max_k)


def _retention(before: CollectionPolicy, after: CollectionPolicy) -> bool:
    """Records that go earlier."""
    if after.retention_days is None:
        return False
    return before.retention_days is None or after.retention_days < before.retention_days


LOOSENINGS: Mapping[str, Callable[[CollectionPolicy, CollectionPolicy], bool]] = {
    "purposes": _purposes,
    "keys": lambda before, after: _allows_new(before.keys, after.keys),
    "roles": lambda before, after: _allows_new(before.roles, after.roles),
    "case_required": lambda before, after: before.case_required and not after.case_required,
    "case_patterns": _case_patterns,
    "min_score": lambda before, after: _lowers(before.min_score, after.min_score),
    "min_similarity": lambda before, after: _lowers(before.min_similarity, after.min_similarity),
    "max_k": _max_k,
    "authorisation": lambda before, after: (
        _STRICTNESS[after.authorisation] < _STRICTNESS[before.authorisation]
    ),
    "retention_days": _retention,
    "verifications": lambda before, after: after.verifications < before.verifications,
    "faces": lambda before, after: before.faces and not after.faces,
}
"""For each field of a policy, whether the change allows more, or keeps less."""


def loosened(before: CollectionPolicy | None, after: CollectionPolicy) -> tuple[str, ...]:
    """The fields that are looser than before. Where there was no policy, each one is a restriction.

    The first policy of faces is held against the defaults for faces, too.
    """
    compared = [before] if before is not None else []
    if after.faces and not (before is not None and before.faces):
        compared.append(as_strict_as_defaults(after))
    return tuple(
        name for name, is_looser in LOOSENINGS.items() if any(is_looser(one, after) for one in compared)
    )
