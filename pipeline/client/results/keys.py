"""Keys of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.client.results.answer_object import AnswerObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Key(AnswerObject):
    """A key of the service. `collections` and `buckets` are globs, times are ISO 8601 in UTC."""

    id: str
    name: str
    tenant: str
    roles: Sequence[str]
    collections: Sequence[str]
    buckets: Sequence[str]
    acts_for_others: bool
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    replaces: str
    justification: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSecret(Key):
    """`secret` is shown this once, and by no `repr`."""

    secret: str = field(repr=False)
