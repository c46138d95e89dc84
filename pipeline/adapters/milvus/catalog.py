"""Which collections there are and which model each belongs to.

A collection `photos` is a physical collection `photos__<8 digits of the fingerprint>` and an alias `photos`.
The alias is made last and dropped first: who finds the alias finds a collection that is complete. Rows go to
the physical name, so a process that began with one model can never write into another's collection.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from pymilvus import MilvusClient

from pipeline.adapters.milvus import schema
from pipeline.adapters.milvus.binding import (
    BINDING_PROPERTY,
    Binding,
    bind,
    binding_text,
    check_model,
    read_binding,
)
from pipeline.adapters.milvus.connection import MilvusConnection, MissingCollectionError, NotLoadedError
from pipeline.errors import (
    CredentialsError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.names import check_collection_name
from pipeline.ports.model_binding import DEFAULT_MODEL, missing_collection
from pipeline.types import ModelSpec

T = TypeVar("T")

LOAD_TIMEOUT_S = 600.0  # a server reads a large collection back into memory


class MilvusCatalog:
    """Safe to share between threads."""

    def __init__(self, connection: MilvusConnection, *, vector_type: str, precision: str) -> None:
        self._connection = connection
        self._timeout_s = connection.timeout_s
        self._vector_type = vector_type
        self._precision = precision
        self._create_lock = threading.Lock()
        self._known: dict[str, Binding] = {}  # as last read; by name

    def create(self, name: str, model: ModelSpec) -> Binding:
        check_collection_name(name)
        with self._create_lock:
            if self.find(name) is None:
                precision = "float32" if model.address == DEFAULT_MODEL else self._precision
                self._make(bind(name, model, self._vector_type, precision))
            binding = self.find(name)  # ours, or that of a process that was faster
        if binding is None:
            raise TransientError(f"collection {name!r} was dropped while it was being made")
        check_model(binding, model)
        return binding

    def check_model(self, name: str, model: ModelSpec) -> None:
        """By the binding that the next write goes to: who was checked cannot write into another's rows."""
        check_model(self.get(name), model)

    def find(self, name: str) -> Binding | None:
        try:
            return self._read(name)
        except MissingCollectionError:
            return None

    def get(self, name: str) -> Binding:
        """The binding as this process last read it. Raises TargetError when there is no such collection."""
        return self._known.get(name) or self._read(name)

    def list_names(self) -> list[str]:
        return sorted({binding.name for binding in self._list_physical()})

    def drop(self, name: str) -> None:
        """Finishes a drop, too, that was interrupted between alias and rows."""
        doomed = [binding.physical for binding in self._list_physical() if binding.name == name]
        if not doomed:
            self._read(name)  # raises, with words about the name
        if self._has_alias(name):
            self._attempt(
                name,
                lambda client: client.drop_alias(name, timeout=self._timeout_s),
                is_done=lambda: not self._has_alias(name),
            )
        for physical in doomed:
            self._drop_physical(name, physical)
        self._known.pop(name, None)

    def call(self, name: str, operation: Callable[[MilvusClient], T]) -> T:
        """One operation on a collection, which is loaded if the server (or a new Lite process) needs that.

        Raises TargetError, whatever the server says of it, when the collection is not there.
        """
        try:
            return self._call_loaded(name, operation)
        except PictorError as err:
            if isinstance(err, TransientError | CredentialsError):
                raise
            self._known.pop(name, None)  # it may have been dropped, or made anew for another model
            if isinstance(err, MissingCollectionError) or self._has_alias(name):
                raise
            # A request that a drop overtakes fails with whatever was taken away first.
            raise MissingCollectionError(missing_collection(name)) from err

    def _call_loaded(self, name: str, operation: Callable[[MilvusClient], T]) -> T:
        try:
            return self._connection.call(operation, collection=name)
        except NotLoadedError:
            self._load(self.get(name))
            return self._connection.call(operation, collection=name)

    def _make(self, binding: Binding) -> None:
        """Each step may have been done by another process, or by one that died after it."""
        name, physical = binding.name, binding.physical
        self._refuse_unsupported(binding)
        self._attempt(
            name,
            lambda client: client.create_collection(
                physical,
                schema=schema.make_schema(binding),
                properties={BINDING_PROPERTY: binding_text(binding)},
                num_partitions=schema.PARTITIONS,
                consistency_level="Bounded",
                timeout=self._timeout_s,
            ),
            is_done=lambda: self._is_there(physical),
        )
        self._attempt(
            name,
            lambda client: client.create_index(
                physical, schema.make_index(lite=self._connection.lite), timeout=self._timeout_s
            ),
            is_done=lambda: self._connection.call(
                lambda client: bool(client.list_indexes(physical, timeout=self._timeout_s)), collection=name
            ),
        )
        self._load(binding)
        self._attempt(
            name,
            lambda client: client.create_alias(physical, name, timeout=self._timeout_s),
            is_done=lambda: self._has_alias(name),
        )

    def _attempt(
        self, name: str, step: Callable[[MilvusClient], object], *, is_done: Callable[[], bool]
    ) -> None:
        """Do a step unless it is done; a failure counts only if it is not done after it either."""
        if is_done():
            return
        try:
            self._connection.call(step, collection=name)
        except PictorError:
            if not is_done():
                raise

    def _drop_physical(self, name: str, physical: str) -> None:
        self._attempt(
            name,
            lambda client: client.drop_collection(physical, timeout=self._timeout_s),
            is_done=lambda: not self._is_there(physical),
        )

    def _load(self, binding: Binding) -> None:
        self._connection.call(
            lambda client: client.load_collection(binding.physical, timeout=LOAD_TIMEOUT_S),
            collection=binding.name,
        )

    def _refuse_unsupported(self, binding: Binding) -> None:
        if binding.vector_type == "float32":
            return
        version = self._connection.server_version()
        numbers = [int(number) for number in version.split()[-1].split(".")[:2]]
        if self._connection.lite or numbers < [2, 4]:
            raise TargetError(
                f"collection {binding.name!r}: {binding.vector_type} vectors need a Milvus server of "
                f"version 2.4 or later, this is {version}; set PICTOR_VECTOR_TYPE=float32"
            )

    def _is_there(self, physical: str) -> bool:
        return bool(
            self._connection.call(lambda client: client.has_collection(physical, timeout=self._timeout_s))
        )

    def _has_alias(self, name: str) -> bool:
        try:
            described = self._connection.call(
                lambda client: client.describe_collection(name, timeout=self._timeout_s), collection=name
            )
        except MissingCollectionError:
            return False
        return bool(described["collection_name"] != name)

    def _read(self, name: str) -> Binding:
        described = self.call(name, lambda client: client.describe_collection(name, timeout=self._timeout_s))
        binding = read_binding(described)
        if binding is None or binding.name != name:
            raise TargetError(
                f"collection {name!r} was not made by Pictor: it does not say which model it belongs to"
            )
        self._known[name] = binding
        return binding

    def _list_physical(self) -> list[Binding]:
        """Bindings of all collections that are ours, with or without an alias."""
        bindings = (self._read_physical(physical) for physical in self._list_everything())
        return [binding for binding in bindings if binding]

    def _list_everything(self) -> list[str]:
        return list(self._connection.call(lambda client: client.list_collections(timeout=self._timeout_s)))

    def _read_physical(self, physical: str) -> Binding | None:
        try:
            described = self._connection.call(
                lambda client: client.describe_collection(physical, timeout=self._timeout_s),
                collection=physical,
            )
        except MissingCollectionError:
            return None  # dropped since the listing
        binding = read_binding(described)
        return binding if binding and binding.physical == physical else None
