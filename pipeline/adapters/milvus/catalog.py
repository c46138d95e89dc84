"""Which generations there are, which model each belongs to, and which one is live.

The generation of `photos` that holds the vectors of one model is a physical collection
`photos__<8 digits of the fingerprint>`. The alias `photos` leads to the live one. Rows and queries go to the
physical name, so a process that began with one model never meets another's vectors.
"""

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pymilvus import MilvusClient

from pipeline.adapters.milvus import schema
from pipeline.adapters.milvus.binding import Binding, read_binding
from pipeline.adapters.milvus.connection import MilvusConnection, MissingCollectionError, NotLoadedError
from pipeline.errors import CredentialsError, PictorError, TargetError, TransientError
from pipeline.ports.model_binding import missing_collection, missing_generation
from pipeline.types import CollectionRef

T = TypeVar("T")

_POSSIBLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")  # names that Milvus gives
LOAD_TIMEOUT_S = 600.0  # a server reads a large collection back into memory


class MilvusCatalog:
    """Safe to share between threads.

    Args:
        live_ttl_s: how long it believes that a generation is live.
    """

    def __init__(self, connection: MilvusConnection, *, live_ttl_s: float) -> None:
        self._connection = connection
        self._timeout_s = connection.timeout_s
        self._live_ttl_s = live_ttl_s
        self._known: dict[CollectionRef, Binding] = {}  # as last read
        self._live: dict[str, tuple[Binding, float]] = {}  # and when that was, monotonic; by name

    def get(self, ref: CollectionRef) -> Binding:
        """The binding as this process last read it.

        Raises:
            ModelMismatchError: the collection has generations of other models only.
            TargetError: there is no such collection.
        """
        binding = self._known.get(ref) or self.find(ref)
        if binding is None:
            raise self._missing(ref)
        return binding

    def find(self, ref: CollectionRef) -> Binding | None:
        """The binding as it is now."""
        binding = self.read_physical(ref.generation)
        if binding is None or binding.ref != ref:
            return None
        self._known[ref] = binding
        return binding

    def live(self, name: str) -> Binding:
        """As it was some seconds ago, at most. Raises TargetError when there is no such collection."""
        binding, read_at = self._live.get(name, (None, 0.0))
        if binding is None or time.monotonic() - read_at >= self._live_ttl_s:
            binding = self.find_live(name)
        if binding is None:
            raise MissingCollectionError(missing_collection(name))
        return binding

    def find_live(self, name: str) -> Binding | None:
        """As it is now.

        Raises:
            TargetError: there is something of that name that Pictor did not make.
        """
        asked_at = time.monotonic()
        described = self._describe(name)
        if described is None:
            self._live.pop(name, None)
            return None
        binding = read_binding(described)
        if binding is None or binding.name != name:
            raise TargetError(
                f"collection {name!r} was not made by Pictor: it does not say which model it belongs to"
            )
        self._live[name] = binding, asked_at
        self._known[binding.ref] = binding
        return binding

    def is_live(self, ref: CollectionRef) -> bool:
        """As it is now."""
        live = self.find_live(ref.name)
        return live is not None and live.ref == ref

    def list_names(self) -> list[str]:
        return sorted({binding.name for binding in self._list_ours("")})

    def list_generations(self, name: str) -> list[Binding]:
        """Those that are half made or half dropped are among them."""
        ours = self._list_ours(f"{name}__")
        return sorted(
            (binding for binding in ours if binding.name == name), key=lambda ours: ours.fingerprint
        )

    def read_physical(self, physical: str) -> Binding | None:
        """None when it is not there, or not ours."""
        described = self._describe(physical)
        binding = read_binding(described) if described is not None else None
        return binding if binding and binding.physical == physical else None

    def has_alias(self, name: str) -> bool:
        described = self._describe(name)
        return described is not None and bool(described["collection_name"] != name)

    def forget(self, ref: CollectionRef) -> None:
        """It may have been dropped, and another one may be live."""
        self._known.pop(ref, None)
        self._live.pop(ref.name, None)

    def call(self, ref: CollectionRef, operation: Callable[[MilvusClient], T]) -> T:
        """One operation on a generation, which is loaded if the server (or a new Lite process) needs that.

        Raises:
            TargetError: it is not there, whatever the server says of that.
        """
        try:
            return self._call_loaded(ref, operation)
        except PictorError as err:
            if isinstance(err, TransientError | CredentialsError):
                raise
            self.forget(ref)
            # A request that a drop overtakes fails with whatever was taken away first.
            if self.find(ref) is None or not self.has_alias(ref.name):
                raise self._missing(ref) from err
            raise

    def load(self, binding: Binding) -> None:
        """Bring it into the server's memory. Safe to run twice.

        It begins with the index, which a process that was stopped may not have made.
        """
        physical, timeout_s = binding.physical, self._timeout_s
        if not self._call(binding, lambda client: client.list_indexes(physical, timeout=timeout_s)):
            index = schema.make_index(lite=self._connection.lite)
            self._call(binding, lambda client: client.create_index(physical, index, timeout=timeout_s))
        self._call(binding, lambda client: client.load_collection(physical, timeout=LOAD_TIMEOUT_S))

    def _call(self, binding: Binding, operation: Callable[[MilvusClient], T]) -> T:
        return self._connection.call(operation, collection=binding.name)

    def _call_loaded(self, ref: CollectionRef, operation: Callable[[MilvusClient], T]) -> T:
        try:
            return self._connection.call(operation, collection=ref.name)
        except NotLoadedError:
            self.load(self.get(ref))
            return self._connection.call(operation, collection=ref.name)

    def _missing(self, ref: CollectionRef) -> TargetError:
        live = self.find_live(ref.name)
        return missing_generation(ref, live.to_info(rows=0) if live else None)

    def _describe(self, name: str) -> dict[str, Any] | None:
        """Of a physical collection or an alias."""
        if not _POSSIBLE.fullmatch(name):  # a server ends a question about it with an error (code 1100)
            return None
        try:
            return dict(
                self._connection.call(
                    lambda client: client.describe_collection(name, timeout=self._timeout_s), collection=name
                )
            )
        except MissingCollectionError:
            return None

    def _list_ours(self, prefix: str) -> list[Binding]:
        """Bindings of all generations whose physical name begins so, with or without an alias."""
        names = self._connection.call(lambda client: client.list_collections(timeout=self._timeout_s))
        bindings = (self.read_physical(name) for name in names if name.startswith(prefix))
        return [binding for binding in bindings if binding]  # the others are not ours, or dropped since
