"""What every route is given: the ports of this process as the caller may use them, and the caller."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from pipeline import wiring
from pipeline.api.metrics import API, ServiceMetrics
from pipeline.api.middleware.callers import caller_of
from pipeline.api.middleware.owner import is_owner
from pipeline.api.places import AllPlaces, Places, known_places
from pipeline.api.readiness import Part
from pipeline.errors import ArgumentError
from pipeline.location import Location, parse_location
from pipeline.ports import (
    Concurrency,
    Deps,
    ImageEmbedder,
    ImageLimits,
    KeyBook,
    Ledger,
    ObjectStore,
    PersonBook,
    PolicyBook,
    RequestBook,
    VectorIndex,
    VerificationBook,
)
from pipeline.ports.giving_way import StoreGivingWay
from pipeline.ports.model_binding import DEFAULT_MODEL, check_target
from pipeline.search.query import Bytes, Query
from pipeline.search.right_of_way import RightOfWay
from pipeline.service.access import ALL_TENANTS, Caller
from pipeline.service.accountability import Accountability
from pipeline.service.confined import (
    ConfinedIndex,
    ConfinedLedger,
    ConfinedModels,
    ConfinedPersons,
    ConfinedPolicies,
    ConfinedVerifications,
    Scope,
    scope_of,
)
from pipeline.service.embeddings import embed_pictures
from pipeline.service.faces import Comparison, FoundFaces, compare_faces, detect_faces
from pipeline.service.index_faces import FacesToIndex, IndexedFaces, index_faces
from pipeline.service.kept_probes import KeptProbes
from pipeline.service.models import Models
from pipeline.service.search import SearchAnswer, SearchPorts, SearchRequest, search_images
from pipeline.service.submit import Submission, submit_embedded, submit_heard
from pipeline.service.verifications import VerificationPorts
from pipeline.settings import Settings
from pipeline.types import WORKERS, CollectionRef, Job, Vector

MOST_CONFINED = 1000  # callers whose ports are kept


class Runner(Protocol):
    def start(self, job_id: str) -> None:
        """Have the job run, by its driver. It returns at once."""
        ...

    def has(self, job_id: str) -> bool:
        """Whether the job runs, or will, without anybody's doing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Safe to share between threads, as its ports are."""

    settings: Settings
    store: ObjectStore
    index: VectorIndex
    ledger: Ledger
    keys: KeyBook
    policies: PolicyBook
    persons: PersonBook
    verifications: VerificationBook
    requests: RequestBook
    answers_to: Accountability
    models: Models
    # From the address that was asked for, or "", and the name of a collection.
    model_for: Callable[[str, str], ImageEmbedder]
    limits: ImageLimits
    concurrency: Concurrency
    places: Places
    runner: Runner
    driver: str
    uploads: Location | None  # where pictures are kept that come to be indexed
    decoding: threading.Semaphore  # as many pictures at once as there is memory for, whoever asks
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)
    stopping: threading.Event = field(default_factory=threading.Event)  # streams end, so that the process can
    parts: Sequence[Part]  # what readiness depends on, and what it names besides
    right_of_way: RightOfWay = field(default_factory=RightOfWay)  # of searches, before jobs of this process
    # By grants. They are kept because each remembers for a moment which places are known.
    _confined: "dict[tuple[object, ...], Backend]" = field(default_factory=dict, init=False)

    def confined_to(self, caller: Caller) -> "Backend":
        """The same ports as this caller sees them. The user of this machine sees all there is."""
        if caller.tenant == ALL_TENANTS:
            return self
        grants = (caller.who, caller.tenant, caller.collections, caller.buckets)
        if (known := self._confined.get(grants)) is None:
            if len(self._confined) >= MOST_CONFINED:
                self._confined.clear()
            known = self._confined[grants] = self._confined_by(scope_of(caller), caller.buckets)
        return known

    def _confined_by(self, scope: Scope, buckets: Sequence[str]) -> "Backend":
        ledger = ConfinedLedger(self.ledger, scope)
        index, policies = ConfinedIndex(self.index, scope), ConfinedPolicies(self.policies, scope)
        return replace(
            self,
            index=index,
            policies=policies,
            answers_to=replace(self.answers_to, policies=policies, index=index),
            verifications=ConfinedVerifications(self.verifications, scope),
            persons=ConfinedPersons(self.persons, scope),
            ledger=ledger,
            models=ConfinedModels(self.models, scope),
            model_for=lambda address, collection: self.model_for(address, scope.stored(collection)),
            places=self.places.confined_to(
                buckets,
                lambda: known_places(ledger, folders=self.driver != WORKERS),
                uploads=self.uploads,
                tenant=scope.tenant,
            ),
        )

    def search(
        self, queries: Sequence[Query], request: SearchRequest, caller: Caller, *, door: str = API
    ) -> list[SearchAnswer]:
        """One answer for each query, in order. Queries with a picture wait for a place to decode it.

        Args:
            door: one of `metrics.DOORS`.
        """
        started = time.perf_counter()
        with self.right_of_way.search():
            answers = list(search_images(queries, request, self.search_ports(), self.limits, caller))
        refused = sum(bool(answer.error) for answer in answers)
        seconds = time.perf_counter() - started
        self.metrics.record_search(door, answered=len(answers) - refused, refused=refused, seconds=seconds)
        return answers

    @property
    def verifying(self) -> VerificationPorts:
        return VerificationPorts(book=self.verifications, answers_to=self.answers_to, probes=self._probes)

    def embed(self, pictures: Sequence[bytes], target: CollectionRef, caller: Caller) -> list[Vector]:
        """See `embed_pictures`."""
        with self.right_of_way.search():
            return embed_pictures(pictures, target, self.search_ports(), self.limits, caller)

    def detect_faces(self, picture: Bytes, collection: str, caller: Caller) -> FoundFaces:
        """See `service.faces`."""
        with self.right_of_way.search():
            return detect_faces(picture, collection, self.search_ports(), self.limits, caller)

    def compare_faces(
        self, first: Bytes, second: Bytes, request: SearchRequest, caller: Caller
    ) -> Comparison:
        """See `service.faces`."""
        with self.right_of_way.search():
            return compare_faces(first, second, request, self.search_ports(), self.limits, caller)

    def index_faces(self, body: bytes, wanted: FacesToIndex, caller: Caller) -> IndexedFaces:
        """See `service.index_faces`."""
        return index_faces(
            body, wanted, self.uploads, self.search_ports(), self.ledger.book, self.limits, caller
        )

    def search_ports(self) -> SearchPorts:
        return SearchPorts(
            store=self.store,
            index=self.index,
            answers_to=self.answers_to,
            models=self.models,
            # The pictures of one request come one after another: other requests have the other threads.
            concurrency=replace(self.concurrency, decode_threads=1, fetch_threads=1),
            decode_slots=self.decoding,
            persons=self.persons,
            probes=self._probes,
        )

    @property
    def _probes(self) -> KeptProbes:
        return KeptProbes(store=self.store, place=self.uploads)

    def deps_with(self, embedder: ImageEmbedder) -> Deps:
        """The ports for a job, which runs in this process or is the workers'."""
        store = StoreGivingWay(self.store, self.right_of_way.give_way)
        deps = wiring.embedded_deps(
            self.settings,
            store=store,
            index=self.index,
            embedder=embedder,
            ledger=self.ledger,
            policies=self.policies,
        )
        # Also where the workers are not staged now: what was staged before may lie there still.
        return replace(deps, staging_bucket=self.settings.staging_bucket if self.driver == WORKERS else "")

    def location_of(self, source: str) -> Location:
        """The place that a source means, if it may be read.

        Raises:
            ArgumentError: it is none, or is a folder where workers elsewhere would have to read it.
            DeniedError: it lies in no place that is allowed.
        """
        if self.driver == WORKERS and not source.startswith("s3://"):
            raise ArgumentError(
                f"{source[:200]}: workers elsewhere run the jobs of this service and cannot read a folder; "
                "s3://bucket/prefix is expected"
            )
        return self.places.check_location(parse_location(source))

    def submit(
        self, wanted: Submission, model: str, caller: Caller, *, job_id: str | None, restart: bool = False
    ) -> tuple[Job, bool]:
        """A job, which whoever drives the jobs of this service runs after this call.

        Args:
            model: the address that was asked for, or "" for the collection's own.
            restart: cancel an unfinished job of the same source, and begin anew.

        Returns:
            The job, and whether it is an unfinished one that goes on.

        Raises:
            ArgumentError, ConflictError, DeniedError, TargetError, AuditError: no job was made.
        """
        deps = self.deps_with(self.model_for_job(model, wanted.collection))
        if self.driver == WORKERS:
            if restart:
                raise ArgumentError(
                    "restart: not possible where workers run the jobs; cancel the unfinished job instead"
                )
            job, resumed = submit_heard(wanted, deps, self.answers_to, caller, job_id=job_id), False
        else:
            job, resumed = submit_embedded(
                wanted, deps, self.answers_to, caller, driver=self.driver, job_id=job_id, restart=restart
            )
        self.runner.start(job.job_id)
        return job, resumed

    def model_for_job(self, model: str, collection: str) -> ImageEmbedder:
        """Args: `model` is the address that was asked for, or "" for the collection's own."""
        if self.driver == WORKERS:
            return self._model_for_workers(model, collection)
        asked = self.model_for(model or self.settings.model, collection)
        existing = None if model else self.index.get_collection(collection)
        if existing is None or asked.spec.fingerprint == existing.fingerprint:
            return asked
        return self.model_for("", collection)  # PICTOR_MODEL is for collections that are made

    def _model_for_workers(self, model: str, collection: str) -> ImageEmbedder:
        """A collection that is there keeps its model, which need not be on this machine."""
        existing = self.index.get_collection(collection)
        if existing is None:
            return self.model_for(model or self.settings.model, collection)
        if model in ("", existing.model_address):
            return self.model_for(DEFAULT_MODEL, collection)  # it stands for this one, and is always here
        embedder = self.model_for(model, collection)
        check_target(existing, embedder.spec)
        return embedder


# `async`, for they wait for nothing. FastAPI would hand plain functions to another thread and back, twice for
# each search.
async def caller_in(request: Request) -> Caller:
    return caller_of(request.scope)


Asks = Annotated[Caller, Depends(caller_in)]


async def ports_for(request: Request, caller: Asks) -> Backend:
    confined = cast("Backend", request.app.state.backend).confined_to(caller)
    return replace(confined, places=AllPlaces()) if is_owner(request.scope) else confined


Ports = Annotated[Backend, Depends(ports_for)]  # no route has other ones: see test_api_tenants
