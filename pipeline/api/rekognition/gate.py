"""The way of a search to the gate that every search passes, in the terms of an AWS client."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import Response

from pipeline.api.backend import Backend
from pipeline.api.bodies import Stated
from pipeline.api.routes.search import RECEIPT_HEADER
from pipeline.api.stated import justification_of
from pipeline.errors import DeniedError, PolicyError
from pipeline.evaluation.scale import Scale
from pipeline.search.groups import GroupBy
from pipeline.search.query import Query, Stored
from pipeline.service.access import Caller, Permission, require, require_names
from pipeline.service.arguments import read_search
from pipeline.service.faces import target_of_faces
from pipeline.service.search import SearchRequest
from pipeline.service.search_values import SearchAnswer
from pipeline.types import AuditReceipt, CollectionPolicy, CollectionRef, Justification, RefusalReason

DEFAULT_MAX_FACES = 80  # where neither the request nor the policy says how many
DEFAULT_THRESHOLD = 80.0  # of the API
INDEX_HEADER = "x-pictor-receipt-index"
CALIBRATION_HEADER = "x-pictor-calibration"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """For one request to search a collection, by somebody who may. `scale` is that of its model.

    The headers of `response` get the receipt of the search.
    """

    target: CollectionRef
    scale: Scale
    why: Justification
    ports: Backend
    caller: Caller
    response: Response

    def request(
        self,
        most: int | None,
        threshold: float | None,
        *,
        itself: int = 0,
        group_by: GroupBy = GroupBy.NOTHING,
    ) -> SearchRequest:
        """What is left out is the API's default, or what the policy allows if that is less.

        Args:
            itself: hits beside those that are wanted.
        """
        policy = self._policy()
        k = (most or DEFAULT_MAX_FACES) + itself
        if policy is not None and policy.max_k is not None and (most is None or most <= policy.max_k):
            k = min(k, policy.max_k)
        least = self.scale.cosine_of(DEFAULT_THRESHOLD if threshold is None else threshold)
        if threshold is None and policy is not None:
            least = max(least, *_floors(policy, self.scale))
        return read_search(
            collection=self.target.name, k=k, min_score=least, group_by=group_by, justification=self.why
        )

    def ask(self, query: Query, request: SearchRequest) -> SearchAnswer:
        with self.in_similarity():
            (answer,) = self.ports.search([query], request, self.caller)
        self.say(answer.receipt)
        return answer

    @contextmanager
    def in_similarity(self) -> Iterator[None]:
        """Says the floor of a policy as the similarity that a client knows."""
        try:
            yield
        except PolicyError as err:
            policy = self._policy() if err.reason == RefusalReason.THRESHOLD_BELOW_FLOOR else None
            floors = _floors(policy, self.scale) if policy is not None else ()
            if not floors:
                raise
            detail = str(err).removeprefix(f"{err.reason}: ")
            of_api = "FaceMatchThreshold, UserMatchThreshold or SimilarityThreshold"
            said = f"{detail}, which is a {of_api} of {self.scale.similarity_of(max(floors)):.4f}"
            raise PolicyError(err.reason, said, err.record_id) from err

    def say(self, receipt: AuditReceipt | None) -> None:
        headers = self.response.headers
        headers[RECEIPT_HEADER] = receipt.record_id if receipt else "recording off"
        if receipt is not None:
            headers[INDEX_HEADER] = str(receipt.index)
        headers[CALIBRATION_HEADER] = self.scale.version

    def _policy(self) -> CollectionPolicy | None:
        version = self.ports.answers_to.policy_of(self.target.name)
        return version.policy if version else None


def open_gate(collection: str, stated: Stated, ports: Backend, caller: Caller, response: Response) -> Gate:
    """Raises DeniedError, NotFoundError, ArgumentError: who may not search it, or it is not one of faces."""
    why = justification_of(stated)
    target = _target(collection, why, ports, caller)
    scale = ports.answers_to.scale_of(target)
    return Gate(target=target, scale=scale, why=why, ports=ports, caller=caller, response=response)


def _target(collection: str, why: Justification, ports: Backend, caller: Caller) -> CollectionRef:
    try:
        require(caller, Permission.SEARCH)
        require_names(caller, collection=collection)
    except DeniedError:  # the gate says so, too, and records that somebody tried
        ports.search([Stored(text="", id="")], read_search(collection=collection, justification=why), caller)
        raise
    return target_of_faces(collection, ports.search_ports())


def _floors(policy: CollectionPolicy, scale: Scale) -> tuple[float, ...]:
    """The cosines that a policy wants at least."""
    similarity = policy.min_similarity
    of_similarity = None if similarity is None else scale.cosine_of(similarity)
    return tuple(floor for floor in (policy.min_score, of_similarity) if floor is not None)
