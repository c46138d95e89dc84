"""The Rekognition endpoint over a collection of one face, asked with a key of each role under any policy."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.ports import AuditLog, Deps
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.keys import KeyRequest, create_key
from pipeline.service.policy_body import read_policy
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import CollectionPolicy, KeyRole
from tests.accountable import NO_LOG, policy_version
from tests.face_models import picture, write_face_model
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.aws_client import MASTER, Wire, aws_client
from tests.unit.face_world import BERTA, deps_of_faces, embedder_of
from tests.unit.fakes import BUCKET, CONCURRENCY

IMAGE = {"Bytes": picture([BERTA])}
NOBODY = "00000000-0000-0000-0000-000000000001"
WITHIN = {"CollectionId": "people"}
SAID: dict[str, Any] = {
    "faces": True,
    "purposes": [{"code": "test", "text": "A test"}, {"code": "other", "text": "Another one"}],
    "roles": ["admin", "writer", "searcher"],
    "verifications": 0,
}


@dataclass(frozen=True, kw_only=True)
class Example:
    """`before` is an operation with the same members, by which an administrator makes what is asked for.

    `threshold` names the member that a search can ask for less with; "" where nobody is looked for.
    """

    members: Mapping[str, Any] = field(default_factory=dict)
    before: str = ""
    threshold: str = ""


EXAMPLES: Mapping[str, Example] = {
    "CreateCollection": Example(members={"CollectionId": "new-NUMBER"}),
    "DeleteCollection": Example(members={"CollectionId": "old-NUMBER"}, before="CreateCollection"),
    "DescribeCollection": Example(members=WITHIN),
    "ListCollections": Example(),
    "IndexFaces": Example(
        members={**WITHIN, "Image": IMAGE, "ExternalImageId": "b", "QualityFilter": "NONE"}
    ),
    "ListFaces": Example(members=WITHIN),
    "DeleteFaces": Example(members={**WITHIN, "FaceIds": [NOBODY]}),
    "DetectFaces": Example(members={"Image": IMAGE}),
    "SearchFaces": Example(members={**WITHIN, "FaceId": "FACE"}, threshold="FaceMatchThreshold"),
    "SearchFacesByImage": Example(members={**WITHIN, "Image": IMAGE}, threshold="FaceMatchThreshold"),
    "CreateUser": Example(members={**WITHIN, "UserId": "new-NUMBER"}),
    "DeleteUser": Example(members={**WITHIN, "UserId": "old-NUMBER"}, before="CreateUser"),
    "ListUsers": Example(members=WITHIN),
    "AssociateFaces": Example(members={**WITHIN, "UserId": "berta", "FaceIds": ["FACE"]}),
    "DisassociateFaces": Example(members={**WITHIN, "UserId": "berta", "FaceIds": [NOBODY]}),
    "SearchUsers": Example(members={**WITHIN, "UserId": "berta"}, threshold="UserMatchThreshold"),
    "SearchUsersByImage": Example(members={**WITHIN, "Image": IMAGE}, threshold="UserMatchThreshold"),
    "TagResource": Example(members={"ResourceArn": "COLLECTION", "Tags": {"unit": "7"}}),
    "UntagResource": Example(members={"ResourceArn": "COLLECTION", "TagKeys": ["unit"]}),
    "ListTagsForResource": Example(members={"ResourceArn": "COLLECTION"}),
    "CompareFaces": Example(
        members={"SourceImage": IMAGE, "TargetImage": IMAGE}, threshold="SimilarityThreshold"
    ),
}


@dataclass(frozen=True, kw_only=True)
class State:
    """A policy, what a client states under it, and the reason for which a search is refused; "" for none."""

    reason: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)
    stated: Mapping[str, str] = field(default_factory=lambda: {"X-Pictor-Purpose": "test"})
    threshold: float | None = None


STATES: Mapping[str, State] = {
    "allows": State(),
    "no purpose stated": State(reason="purpose_missing", stated={}),
    "another purpose": State(reason="purpose_not_allowed", stated={"X-Pictor-Purpose": "fun"}),
    "no role named": State(reason="caller_not_allowed", policy={"roles": ["broker"]}),
    "no case stated": State(reason="case_missing", policy={"case_required": True}),
    "below the floor": State(reason="threshold_below_floor", threshold=80.0),
    "no authorisation": State(reason="authorisation_missing", policy={"authorisation": "ex_ante"}),
}


class Endpoint:
    """A collection of one face, asked with a key of each role."""

    def __init__(self, folder: Path, log: AuditLog) -> None:
        self._open = ExitStack()
        model_file = write_face_model(folder / "model")
        deps = Deps(
            store=MemoryStore(BUCKET),
            index=MemoryIndex(),
            embedder=embedder_of(model_file),
            ledger=self._open.enter_context(open_ledger(f"sqlite:///{folder}/ledger.db")),
            concurrency=CONCURRENCY,
        )
        deps = deps_of_faces(deps, model_file, deps.embedder)
        self.log, self.policies = log, MemoryPolicyBook()
        made = backend_of(deps, folder, log=self.log)
        template = folder / "policy.json"
        template.write_text(json.dumps({**SAID, "verifications": 2}), encoding="utf-8")
        settings = made.settings.model_copy(
            update={"rekognition_policy": template, "model": "tiny-faces", "rekognition_collection": "people"}
        )
        # Time goes by between any two requests, so that each sees the newest policy.
        answers_to = Accountability(
            log=self.log, policies=self.policies, index=made.index, clock_s=count().__next__
        )
        backend = replace(made, settings=settings, policies=self.policies, answers_to=answers_to)
        self._served = TestClient(
            make_app(backend, aws_key=MASTER), base_url=ORIGIN, raise_server_exceptions=False
        )
        self._stated: dict[str, str] = {}
        self._numbers = count()
        self._clients = {role: self._client(role, backend) for role in KeyRole}
        self._set_policy("people", STATES["allows"])
        self._named = {"COLLECTION": self._admin("CreateCollection", **WITHIN)["CollectionArn"]}
        indexed = self._admin("IndexFaces", **EXAMPLES["IndexFaces"].members)
        self._named["FACE"] = indexed["FaceRecords"][0]["Face"]["FaceId"]
        self._admin("CreateUser", **WITHIN, UserId="berta")
        self._admin("AssociateFaces", **filled(EXAMPLES["AssociateFaces"].members, self._named))

    def close(self) -> None:
        self._served.close()
        self._open.close()

    def _client(self, role: KeyRole, backend: Backend) -> tuple[BaseClient, Wire]:
        request = KeyRequest(name=role.value, roles=(role,))
        key = create_key(request, backend.keys, NO_LOG, local_caller()).key
        return aws_client(self._served, key.key_id, stated=self._stated)

    def _admin(self, operation: str, **members: Any) -> Any:
        self._state(STATES["allows"])
        return self._ask(KeyRole.ADMIN, operation, members)

    def _ask(self, role: KeyRole, operation: str, members: Mapping[str, Any]) -> Any:
        client, _ = self._clients[role]
        methods = {name: method for method, name in client.meta.method_to_api_mapping.items()}
        return getattr(client, methods[operation])(**members)

    def _state(self, state: State) -> None:
        self._stated.clear()
        self._stated.update(state.stated)

    def _set_policy(self, collection: str, state: State) -> None:
        """In force at once, whoever would have to agree to it."""
        policy: CollectionPolicy = read_policy(json.dumps({**SAID, **state.policy}))
        history = self.policies.history(collection)
        version = policy_version(collection, policy, replaces=len(history))
        self.policies.add(version)

    def answer(self, operation: str, role: KeyRole, state: State) -> str:
        """`ok` or the code of the error, and for each search in the log whether it was allowed or why not."""
        example = EXAMPLES[operation]
        members = filled(example.members, {**self._named, "NUMBER": f"{next(self._numbers)}"})
        if example.before:
            self._admin(example.before, **members)
        self._set_policy("people", state)
        self._state(state)
        if state.threshold is not None:
            members[example.threshold] = state.threshold
        before = self.log.head().size
        try:
            self._ask(role, operation, members)
            code = "ok"
        except ClientError as err:
            code = str(err.response["Error"]["Code"])
        recorded = [json.loads(entry.record or b"{}") for entry in self.log.entries(start=before)]
        searches = [record["decision"] for record in recorded if record["kind"] == "search"]
        said = [decision["reason_code"] or decision["outcome"] for decision in searches]
        return " ".join([code, *said])


def filled(value: Any, named: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: filled(part, named) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, named) for part in value]
    if isinstance(value, str):
        for word, meant in named.items():
            value = value.replace(word, meant)
    return value
