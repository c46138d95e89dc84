"""How a generation comes, becomes the live one, and goes. Each step may finish what another process began.

    open      the physical collection → its index → loaded → the alias, if there is none
    promote   loaded → the alias
    drop      the physical collection; of a whole collection the alias comes first

Who finds the alias finds a generation that is complete.
"""

import threading
from collections.abc import Callable

from pymilvus import MilvusClient

from pipeline.adapters.milvus import schema
from pipeline.adapters.milvus.binding import BINDING_PROPERTY, Binding, bind, binding_text, precision_of
from pipeline.adapters.milvus.catalog import MilvusCatalog
from pipeline.adapters.milvus.connection import MilvusConnection, MissingCollectionError
from pipeline.errors import PictorError, TargetError, TransientError
from pipeline.names import check_stored_name
from pipeline.ports.model_binding import (
    check_binding,
    check_target,
    missing_collection,
    refuse_live,
)
from pipeline.types import CollectionRef, ModelSpec


class MilvusGenerations:
    """Safe to share between threads, and between processes."""

    def __init__(
        self, connection: MilvusConnection, catalog: MilvusCatalog, *, vector_type: str, precision: str
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._timeout_s = connection.timeout_s
        self._vector_type = vector_type
        self._precision = precision
        self._lock = threading.Lock()

    def create(self, name: str, model: ModelSpec) -> Binding:
        """The live generation. Raises ModelMismatchError: it is another model's."""
        check_stored_name(name)
        with self._lock:
            live = self._catalog.find_live(name)
            if live is None:
                self._open(name, model)
                live = self._catalog.find_live(name)  # ours, or that of a process that was faster
        if live is None:
            raise TransientError(f"collection {name!r} was dropped while it was being made")
        check_target(live.to_info(rows=0), model)
        return live

    def open(self, name: str, model: ModelSpec) -> Binding:
        check_stored_name(name)
        with self._lock:
            self._catalog.find_live(name)  # refuses a collection that is not ours
            return self._open(name, model)

    def promote(self, ref: CollectionRef) -> None:
        """One change of the alias, which a server makes for all searches at once."""
        binding = self._catalog.get(ref)
        self._catalog.load(binding)
        self._make_alias(binding)
        self._attempt(
            ref.name,
            lambda client: client.alter_alias(binding.physical, ref.name, timeout=self._timeout_s),
            is_done=lambda: self._catalog.is_live(ref),
        )
        self._catalog.find_live(ref.name)  # this process knows at once

    def drop(self, ref: CollectionRef) -> None:
        """If it is promoted at this very moment, the collection is left without a live generation.

        Not all servers drop the collection behind an alias. The next promotion makes the alias anew.
        """
        self._catalog.forget(ref)
        binding = self._catalog.get(ref)
        if self._catalog.is_live(ref):
            raise refuse_live(ref)
        self._drop_physical(binding)
        self._catalog.forget(ref)

    def drop_all(self, name: str) -> None:
        """Finishes a drop, too, that was interrupted between alias and rows."""
        doomed = self._catalog.list_generations(name)
        if not doomed:
            self._catalog.find_live(name)  # raises, with words about the name
            raise MissingCollectionError(missing_collection(name))
        self._attempt(
            name,
            lambda client: client.drop_alias(name, timeout=self._timeout_s),
            is_done=lambda: not self._catalog.has_alias(name),
        )
        for binding in doomed:
            self._drop_physical(binding)
            self._catalog.forget(binding.ref)

    def _open(self, name: str, model: ModelSpec) -> Binding:
        wanted = bind(name, model, self._vector_type, precision_of(model, self._precision))
        found = self._catalog.read_physical(wanted.physical)
        if found is not None:
            check_binding(found.to_info(rows=0), model)
        else:
            self._refuse_unsupported(wanted)
            self._make_physical(wanted)
        binding = found or self._catalog.get(wanted.ref)  # perhaps that of a process that was faster
        self._catalog.load(binding)
        self._make_alias(binding)
        return binding

    def _make_physical(self, binding: Binding) -> None:
        self._attempt(
            binding.name,
            lambda client: client.create_collection(
                binding.physical,
                schema=schema.make_schema(binding),
                properties={BINDING_PROPERTY: binding_text(binding)},
                num_partitions=schema.PARTITIONS,
                consistency_level="Bounded",
                timeout=self._timeout_s,
            ),
            is_done=lambda: self._is_there(binding.physical),
        )

    def _make_alias(self, binding: Binding) -> None:
        """Unless there is one, whatever it leads to."""
        self._attempt(
            binding.name,
            lambda client: client.create_alias(binding.physical, binding.name, timeout=self._timeout_s),
            is_done=lambda: self._catalog.has_alias(binding.name),
        )

    def _drop_physical(self, binding: Binding) -> None:
        self._attempt(
            binding.name,
            lambda client: client.drop_collection(binding.physical, timeout=self._timeout_s),
            is_done=lambda: not self._is_there(binding.physical),
        )

    def _attempt(
        self, name: str, step: Callable[[MilvusClient], object], *, is_done: Callable[[], bool]
    ) -> None:
        """Do a step unless it is done. A failure counts only if it is not done after it either."""
        if is_done():
            return
        try:
            self._connection.call(step, collection=name)
        except PictorError:
            if not is_done():
                raise

    def _is_there(self, physical: str) -> bool:
        return bool(
            self._connection.call(lambda client: client.has_collection(physical, timeout=self._timeout_s))
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
