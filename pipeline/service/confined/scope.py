"""Which collections a caller has, and under which names these are stored.

Collection `images` of tenant `acme` is stored as `tenant_acme_images`, and so are its generations, their
entries in the version book and the jobs that fill it. A tenant's name has no underscore, so no two tenants
share a beginning. Those of the tenant `default` are stored as they are called.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from pipeline.errors import (
    ArgumentError,
    ConflictError,
    DeniedError,
    LimitError,
    ModelMismatchError,
    NotFoundError,
    PictorError,
    TargetError,
)
from pipeline.names import check_collection_name, is_of_tenant, shown
from pipeline.service.access import ALL_TENANTS, Caller, is_like_any, require_name
from pipeline.types import CollectionInfo, CollectionRef, Job, JobRequest, tenant_beginning

_NAMING = (ArgumentError, ConflictError, ModelMismatchError, NotFoundError, TargetError)  # name collections

Named = TypeVar("Named", CollectionInfo, CollectionRef)


def scope_of(caller: Caller) -> "Scope":
    """Raises DeniedError for a caller who is of no one tenant."""
    if caller.tenant == ALL_TENANTS:
        raise DeniedError(f"{caller.who!r} belongs to no tenant")
    return Scope(who=caller.who, tenant=caller.tenant, collections=caller.collections)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Args: `collections` are globs of names as the caller knows them."""

    who: str
    tenant: str
    collections: tuple[str, ...]

    @property
    def beginning(self) -> str:
        """Of the stored names."""
        return tenant_beginning(self.tenant)

    def stored(self, name: str) -> str:
        """The stored name of a collection that the caller names.

        Raises:
            ArgumentError: no collection of this tenant can have the name.
            DeniedError: the caller may not reach it.
        """
        require_name(self.who, "collection", name, self.collections)
        if not self.beginning:
            if is_of_tenant(name):
                raise ArgumentError(f"collection name {shown(name)}: tenant_… is kept for tenants")
            return name
        check_collection_name(name)
        try:
            return check_collection_name(self.beginning + name)
        except ArgumentError:
            most = 100 - len(self.beginning)
            raise ArgumentError(
                f"collection name {shown(name)}: at most {most} characters, the first no underscore"
            ) from None

    def seen(self, stored: str) -> str | None:
        """What the caller calls a stored collection; None for one that is not the caller's."""
        if not stored.startswith(self.beginning) or (not self.beginning and is_of_tenant(stored)):
            return None
        name = stored.removeprefix(self.beginning)
        return name if is_like_any(name, self.collections) else None

    def holds(self, stored: str) -> bool:
        return self.seen(stored) is not None

    def stored_ref(self, ref: CollectionRef) -> CollectionRef:
        return replace(ref, name=self.stored(ref.name))

    def stored_generation(self, generation: str) -> str:
        """Of `types.generation_of`."""
        name, separator, digits = generation.rpartition("__")
        return f"{self.stored(name)}{separator}{digits}"

    def stored_request(self, request: JobRequest) -> JobRequest:
        return replace(request, collection=self.stored(request.collection))

    def seen_job(self, job: Job) -> Job | None:
        name = self.seen(job.request.collection)
        if name is None:
            return None
        return replace(job, request=replace(job.request, collection=name), error=self.plain(job.error))

    def seen_info(self, info: CollectionInfo) -> CollectionInfo:
        beside = {embedding: self.seen_info(of_it) for embedding, of_it in info.beside.items()}
        return replace(info, name=info.name.removeprefix(self.beginning), beside=beside)

    def seen_ref(self, ref: CollectionRef) -> CollectionRef:
        return replace(ref, name=ref.name.removeprefix(self.beginning))

    def plain(self, text: str) -> str:
        """A message about a stored collection, as the caller would say it."""
        return text.replace(self.beginning, "") if self.beginning else text

    @contextmanager
    def words(self) -> Iterator[None]:
        """Errors of a port name collections as the caller does."""
        try:
            yield
        except _NAMING as err:
            raise _as_same_kind(err, self.plain(str(err))) from err


def _as_same_kind(err: PictorError, text: str) -> PictorError:
    kind: Callable[[str], PictorError] = next(kind for kind in _MOST_DERIVED if isinstance(err, kind))
    return kind(text)


_MOST_DERIVED = (ModelMismatchError, LimitError, TargetError, ArgumentError, NotFoundError, ConflictError)
