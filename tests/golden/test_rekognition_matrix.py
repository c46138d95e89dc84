"""What each role is answered by each operation of the Rekognition endpoint, under each policy, as a table.

The operations are those of the application. One without an example, or without its rows in the table, fails.
After a change, write the table anew and look at what is different:
python -m tests.golden.test_rekognition_matrix
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from starlette.testclient import TestClient

from pipeline.adapters.ledger.sql_ledger import open_ledger
from pipeline.api.app import make_app
from pipeline.api.aws.middleware import FOLDER
from pipeline.ports import Deps
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.keys import KeyRequest, create_key
from pipeline.service.policy_body import read_policy
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import CollectionPolicy, KeyRole, PolicyState, PolicyVersion
from tests.accountable import NO_LOG
from tests.face_models import picture, write_face_model
from tests.golden.test_role_matrix import ROUTES
from tests.unit.api_client import ORIGIN, backend_of
from tests.unit.aws_client import MASTER, Wire, aws_client
from tests.unit.face_world import BERTA, deps_of_faces, embedder_of
from tests.unit.fakes import BUCKET, CONCURRENCY
from tests.verifications import NOON

WRITE = "run python -m tests.golden.test_rekognition_matrix"
TABLE = Path(__file__).parent / "rekognition_matrix.txt"
IMAGE = {"Bytes": picture([BERTA])}
WITHIN = {"CollectionId": "people"}
SAID: dict[str, Any] = {
    "faces": True,
    "purposes": [{"code": "test", "text": "A test"}, {"code": "other", "text": "Another one"}],
    "roles": ["admin", "writer", "searcher"],
    "verifications": 0,
}


@dataclass(frozen=True, kw_only=True)
class Example:
    """`threshold` names the member that a search can ask for less with; "" where nobody is looked for."""

    members: Mapping[str, Any] = field(default_factory=dict)
    threshold: str = ""


EXAMPLES: Mapping[str, Example] = {
    "CreateCollection": Example(members={"CollectionId": "new-NUMBER"}),
    "DeleteCollection": Example(members={"CollectionId": "old-NUMBER"}),
    "DescribeCollection": Example(members=WITHIN),
    "ListCollections": Example(),
    "IndexFaces": Example(
        members={**WITHIN, "Image": IMAGE, "ExternalImageId": "b", "QualityFilter": "NONE"}
    ),
    "ListFaces": Example(members=WITHIN),
    "DeleteFaces": Example(members={**WITHIN, "FaceIds": ["00000000-0000-0000-0000-000000000001"]}),
    "DetectFaces": Example(members={"Image": IMAGE}),
    "SearchFaces": Example(members={**WITHIN, "FaceId": "FACE"}, threshold="FaceMatchThreshold"),
    "SearchFacesByImage": Example(members={**WITHIN, "Image": IMAGE}, threshold="FaceMatchThreshold"),
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
OF_ALL = ("allows", "no role named")  # where nobody is looked for, a policy of searches changes nothing


class Endpoint:
    """A collection of one face, asked with a key of each role."""

    def __init__(self, folder: Path) -> None:
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
        self.log, self.policies = MemoryAuditLog(), MemoryPolicyBook()
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
        self._admin("create_collection", CollectionId="people")
        indexed = self._admin("index_faces", **EXAMPLES["IndexFaces"].members)
        self._face = indexed["FaceRecords"][0]["Face"]["FaceId"]

    def close(self) -> None:
        self._served.close()
        self._open.close()

    def _client(self, role: KeyRole, backend: Any) -> tuple[BaseClient, Wire]:
        request = KeyRequest(name=role.value, roles=(role,))
        key = create_key(request, backend.keys, NO_LOG, local_caller()).key
        return aws_client(self._served, key.key_id, stated=self._stated)

    def _admin(self, operation: str, **members: Any) -> Any:
        self._state(STATES["allows"])
        return getattr(self._clients[KeyRole.ADMIN][0], operation)(**members)

    def _state(self, state: State) -> None:
        self._stated.clear()
        self._stated.update(state.stated)

    def _set_policy(self, collection: str, state: State) -> None:
        """In force at once, whoever would have to agree to it."""
        policy: CollectionPolicy = read_policy(json.dumps({**SAID, **state.policy}))
        history = self.policies.history(collection)
        version = PolicyVersion(
            collection=collection,
            version=len(history) + 1,
            policy=policy,
            state=PolicyState.IN_FORCE,
            replaces=len(history),
            loosens=(),
            proposed_by="somebody",
            proposed_at=NOON,
        )
        self.policies.add(version)

    def answer(self, operation: str, role: KeyRole, state: State) -> str:
        """`ok` or the code of the error, and for each search in the log whether it was allowed or why not."""
        example, number = EXAMPLES[operation], f"{next(self._numbers)}"
        if operation == "DeleteCollection":
            self._admin("create_collection", CollectionId=f"old-{number}")
        self._set_policy("people", state)
        self._state(state)
        members = filled(example.members, {"NUMBER": number, "FACE": self._face})
        if state.threshold is not None:
            members[example.threshold] = state.threshold
        client, _ = self._clients[role]
        before = self.log.head().size
        try:
            getattr(client, method_of(client, operation))(**members)
            code = "ok"
        except ClientError as err:
            code = str(err.response["Error"]["Code"])
        recorded = [json.loads(entry.record or b"{}") for entry in self.log.entries(start=before)]
        searches = [record["decision"] for record in recorded if record["kind"] == "search"]
        said = [decision["reason_code"] or decision["outcome"] for decision in searches]
        return " ".join([code, *said])


def method_of(client: BaseClient, operation: str) -> str:
    methods: Mapping[str, str] = client.meta.method_to_api_mapping
    return next(method for method, name in methods.items() if name == operation)


def filled(value: Any, named: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: filled(part, named) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, named) for part in value]
    if isinstance(value, str):
        for word, meant in named.items():
            value = value.replace(word, meant)
    return value


OPERATIONS = sorted(
    path.removeprefix(f"{FOLDER}/") for _, path in ROUTES if path.startswith(f"{FOLDER}/") and "{" not in path
)


def states_of(operation: str) -> Sequence[str]:
    return tuple(STATES) if EXAMPLES[operation].threshold else OF_ALL


def rows(endpoint: Endpoint, operation: str) -> Iterator[str]:
    for name in states_of(operation):
        cells = [endpoint.answer(operation, role, STATES[name]) for role in KeyRole]
        yield from (
            f"{operation:20} {name:18} {role.value:10} {cell}"
            for role, cell in zip(KeyRole, cells, strict=True)
        )


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path_factory.mktemp("rekognition"))
    yield made
    made.close()


def test_every_operation_has_an_example() -> None:
    assert sorted(EXAMPLES) == OPERATIONS, (
        "add an example and run python -m tests.golden.test_rekognition_matrix"
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_table_says_what_each_role_is_answered(operation: str, endpoint: Endpoint) -> None:
    expected = [row for row in TABLE.read_text().splitlines() if row.split()[0] == operation]
    assert expected, f"the operation has no row: {WRITE}"
    assert list(rows(endpoint, operation)) == expected


# What must hold of the table, whoever wrote it


def cells() -> Iterator[tuple[str, State, KeyRole, list[str]]]:
    """Operation, state, role and the words of the answer."""
    for row in TABLE.read_text().splitlines():
        yield row[:20].strip(), STATES[row[21:39].strip()], KeyRole(row[40:50].strip()), row[51:].split()


def test_whoever_searches_leaves_one_entry_and_whom_a_policy_refuses_is_told_nothing() -> None:
    for operation, state, role, (code, *said) in cells():
        if not EXAMPLES[operation].threshold:
            assert said == [], operation
        elif role in SEARCHERS:
            assert (code, said) == (
                ("AccessDeniedException", [state.reason]) if state.reason else ("ok", ["allowed"])
            )
        else:
            assert (code, said) == ("AccessDeniedException", ["access_denied"]), (operation, role)


def test_who_looks_on_changes_nothing() -> None:
    for operation, _, role, (code, *_said) in cells():
        if role in LOOKERS_ON and operation.startswith(("Create", "Delete", "Index")):
            assert code == "AccessDeniedException", (operation, role)


def test_a_policy_of_searches_changes_no_other_operation() -> None:
    others = {(operation, role): set[str]() for operation, _, role, _ in cells()}
    for operation, _, role, words in cells():
        others[operation, role].add(" ".join(words))
    assert [
        named for named, found in others.items() if not EXAMPLES[named[0]].threshold and len(found) > 1
    ] == []


SEARCHERS = (KeyRole.ADMIN, KeyRole.WRITER, KeyRole.SEARCHER)
LOOKERS_ON = (KeyRole.AUDITOR, KeyRole.APPROVER, KeyRole.VERIFIER)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asked = Endpoint(Path(made))
        TABLE.write_text("\n".join(row for operation in OPERATIONS for row in rows(asked, operation)) + "\n")
        asked.close()
