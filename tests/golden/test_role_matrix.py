"""Who may ask what of a service with keys: each route, each role, and whose the thing is that it names.

`role_matrix.txt` is the table. When a change is meant, write it anew with
`python -m tests.golden.test_role_matrix` and read what has changed. A route without an example here fails.
"""

import base64
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.routing import APIRoute

from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.middleware.callers import is_open
from pipeline.types import (
    CollectionPolicy,
    JobState,
    KeyRole,
    PolicyState,
    Probe,
    ReferenceDb,
)
from tests.accountable import policy_version
from tests.audit_records import search_by
from tests.unit.fakes import BUCKET, SPEC, distinct_png
from tests.unit.tenant_world import TenantWorld, Worlds, failed_image_of, image_of
from tests.verifications import search_to_verify

TABLE = Path(__file__).parent / "role_matrix.txt"
ROLES = (*KeyRole, None)  # None is somebody without a key
OWN, COLLECTION, TENANT = "own", "foreign collection", "foreign tenant"
PLACES = {OWN: "images", COLLECTION: "secret", TENANT: "quokka"}
RECEIPTS = {place: digit * 32 for place, digit in zip(PLACES, "abc", strict=True)}  # of searches
Route = tuple[str, str]
PICTURE = distinct_png(0)


@dataclass(frozen=True)
class Example:
    """A request that works for who may. `COLLECTION` in a text stands for the collection of the place."""

    params: dict[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    before: Callable[[TenantWorld, str], object] | None = None  # what must be done first, to the job


def run_again(world: TenantWorld, job_id: str) -> None:
    world.deps.ledger.set_state(job_id, JobState.RUNNING)


def bring_back(world: TenantWorld, job_id: str) -> None:
    for failure in world.deps.ledger.failures(job_id):
        world.deps.store.put(failure.ref.bucket, failure.ref.key, PICTURE)


def propose_policies(world: TenantWorld, _job_id: str) -> None:
    """Each collection has a policy, and a looser version that waits for an approver."""
    for collection in ("tenant_acme_images", "tenant_acme_secret", "tenant_other_quokka"):
        first = policy_version(collection, CollectionPolicy())
        world.backend.policies.add(first)
        looser = CollectionPolicy(roles=("searcher",))
        world.backend.policies.add(
            replace(
                first, version=2, replaces=1, policy=looser, state=PolicyState.PROPOSED, loosens=("roles",)
            )
        )


def open_matches(world: TenantWorld, _job_id: str) -> None:
    """A search of each place, by somebody who has no key here, whose hit waits for persons."""
    assert world.backend.answers_to.log is not None
    world.backend.answers_to.log.append(
        [
            search_to_verify(
                "somebody (k)",
                record_id=receipt,
                tenant="other" if place == TENANT else "acme",
                reference_db=ReferenceDb(collection=PLACES[place]),
                probe=Probe(source=image_of(PLACES[place])),
            )
            for place, receipt in RECEIPTS.items()
        ]
    )


def record_searches(world: TenantWorld, _job_id: str) -> None:
    """One in each place, by somebody else than the key of the cell."""
    log = world.backend.answers_to.log
    assert log is not None
    for place, collection in PLACES.items():
        tenant, where = "other" if place == TENANT else "acme", ReferenceDb(collection=collection)
        log.append([search_by("somebody", tenant=tenant, reference_db=where)])


POLICY = "/v1/collections/{collection}/policy"
PERSONS = "/v1/collections/{collection}/persons"
MATCH = "/v1/verifications/{match_id}"
DECISION = {"decision": "confirm", "reason": "as I see it"}
DECIDE_CASE = "/v1/collections/{collection}/authorisations"
EXAMPLES: dict[Route, Example] = {
    ("GET", POLICY): Example(before=propose_policies),
    ("PUT", POLICY): Example(json={"roles": ["searcher"]}),
    ("GET", f"{POLICY}/versions"): Example(),
    ("POST", f"{POLICY}/versions/{{number}}/approve"): Example(before=propose_policies),
    ("POST", f"{POLICY}/versions/{{number}}/refuse"): Example(before=propose_policies),
    ("POST", DECIDE_CASE): Example(
        json={"case": "AB-1", "granted": True, "authorisation": "W 1/26", "authority": "Court"}
    ),
    ("GET", "/v1/verifications"): Example(params={"collection": "COLLECTION"}, before=open_matches),
    ("GET", MATCH): Example(before=open_matches),
    ("GET", f"{MATCH}/probe"): Example(before=open_matches),
    ("POST", f"{MATCH}/decision"): Example(json=DECISION, before=open_matches),
    ("GET", "/v1/searches/{receipt}"): Example(before=open_matches),
    ("GET", "/verify"): Example(params={"collection": "COLLECTION"}, before=open_matches),
    ("POST", "/verify"): Example(content=b"decision=confirm&reason=r&match=none"),
    ("GET", "/v1/audit/checkpoint"): Example(before=record_searches),
    ("GET", "/v1/audit/key"): Example(),
    ("GET", "/v1/audit/entries/{entry}"): Example(before=record_searches),
    ("GET", "/v1/audit/entries/{entry}/proof"): Example(before=record_searches),
    ("GET", "/"): Example(params={"collection": "COLLECTION", "id": "IMAGE"}),
    ("POST", "/"): Example(content=b"collection=COLLECTION&id=IMAGE"),
    ("POST", "/results"): Example(params={"collection": "COLLECTION"}, content=PICTURE),
    ("POST", "/faces"): Example(params={"collection": "COLLECTION"}, content=PICTURE),
    ("GET", "/jobs"): Example(),
    ("POST", "/jobs"): Example(
        content=f"source=s3://{BUCKET}/images/&collection=COLLECTION&token=COLLECTION".encode()
    ),
    ("GET", "/jobs/{job_id}"): Example(),
    ("GET", "/audit"): Example(),
    ("POST", "/audit"): Example(content=b"actor=nobody"),
    ("POST", "/audit/reports/{shape}"): Example(content=b"format=csv", before=record_searches),
    ("GET", "/audit/entries/{entry}"): Example(before=record_searches),
    ("GET", "/audit/review"): Example(),
    ("GET", "/sign-in"): Example(),
    ("POST", "/sign-in"): Example(content=b"key=none"),
    ("POST", "/sign-out"): Example(),
    ("GET", "/docs"): Example(),
    ("GET", "/problems"): Example(),
    ("GET", "/problems/{code}"): Example(),
    ("GET", "/livez"): Example(),
    ("GET", "/readyz"): Example(),
    ("GET", "/metrics"): Example(),
    ("GET", "/v1/collections"): Example(),
    ("POST", "/v1/collections"): Example(json={"name": "COLLECTION"}),
    ("GET", "/v1/collections/{name}"): Example(),
    ("DELETE", "/v1/collections/{name}"): Example(),
    ("GET", "/v1/collections/{name}/generations"): Example(),
    ("POST", "/v1/embeddings"): Example(
        json={"model": SPEC.name, "input": base64.b64encode(PICTURE).decode()}
    ),
    ("GET", "/v1/jobs"): Example(),
    ("POST", "/v1/jobs"): Example(json={"source": f"s3://{BUCKET}/images/", "collection": "COLLECTION"}),
    ("GET", "/v1/jobs/{job_id}"): Example(),
    ("GET", "/v1/jobs/{job_id}/failures"): Example(),
    ("GET", "/v1/jobs/{job_id}/failures/{image_id}/thumbnail"): Example(before=bring_back),
    ("GET", "/v1/jobs/{job_id}/events"): Example(),
    ("POST", "/v1/jobs/{job_id}/cancel"): Example(),
    ("POST", "/v1/jobs/{job_id}/pause"): Example(before=run_again),
    ("POST", "/v1/jobs/{job_id}/resume"): Example(),
    ("POST", "/v1/jobs/{job_id}/retry"): Example(),
    ("GET", PERSONS): Example(),
    ("PUT", f"{PERSONS}/{{person_id}}"): Example(),
    ("GET", f"{PERSONS}/{{person_id}}"): Example(),
    ("DELETE", f"{PERSONS}/{{person_id}}"): Example(),
    ("POST", f"{PERSONS}/{{person_id}}/faces"): Example(json={"faces": ["0" * 32]}),
    ("POST", f"{PERSONS}/{{person_id}}/faces/remove"): Example(json={"faces": ["0" * 32]}),
    ("GET", "/v1/collections/{collection}/images/{image_id}"): Example(),
    ("GET", "/v1/collections/{collection}/images/{image_id}/thumbnail"): Example(),
    ("DELETE", "/v1/collections/{collection}/images/{image_id}"): Example(),
    ("POST", "/v1/collections/{collection}/images"): Example(
        json={"object": {"bucket": BUCKET, "key": "images/a.png"}}
    ),
    ("POST", "/v1/collections/{collection}/images/upload"): Example(content=PICTURE),
    ("POST", "/v1/jobs/estimate"): Example(
        json={"source": f"s3://{BUCKET}/images/", "collection": "COLLECTION"}
    ),
    ("POST", "/v1/collections/{collection}/search"): Example(json={"query": {"id": "IMAGE"}}),
    ("POST", "/v1/collections/{collection}/search/batch"): Example(json={"queries": [{"id": "IMAGE"}]}),
    ("POST", "/v1/collections/{collection}/search/image"): Example(content=PICTURE),
    ("POST", "/v1/collections/{collection}/duplicates"): Example(json={}),
    # The collections of this table are of whole images: who may ask is told so.
    ("POST", "/v1/faces/detect"): Example(params={"collection": "COLLECTION"}, content=PICTURE),
    ("POST", "/v1/faces/compare"): Example(
        json={
            "collection": "COLLECTION",
            "first": base64.b64encode(PICTURE).decode(),
            "second": base64.b64encode(PICTURE).decode(),
        }
    ),
    ("GET", "/v1/audit/entries"): Example(),
    ("POST", "/v1/audit/search"): Example(json={"actor": "nobody"}),
    ("GET", "/v1/audit/reports/{shape}"): Example(before=record_searches),
    ("POST", "/v1/audit/reports/{shape}"): Example(json={"recipient": "nobody"}, before=record_searches),
    ("GET", "/v1/audit/review"): Example(),
    ("GET", "/v1/keys"): Example(),
    ("POST", "/v1/keys"): Example(json={"name": "k", "roles": ["searcher"], "collections": ["COLLECTION"]}),
    ("GET", "/v1/keys/{key_id}"): Example(),
    ("DELETE", "/v1/keys/{key_id}"): Example(),
    ("POST", "/v1/keys/{key_id}/rotate"): Example(json={}),
    # A signature lets in, and no key by its text: test_rekognition_matrix.py has the roles of those who sign.
    **{
        ("POST", f"/rekognition/{operation}"): Example(json={})
        for operation in (
            "AssociateFaces",
            "CompareFaces",
            "CreateCollection",
            "CreateUser",
            "DeleteCollection",
            "DeleteFaces",
            "DeleteUser",
            "DescribeCollection",
            "DetectFaces",
            "DisassociateFaces",
            "IndexFaces",
            "ListCollections",
            "ListFaces",
            "ListTagsForResource",
            "ListUsers",
            "SearchFaces",
            "SearchFacesByImage",
            "SearchUsers",
            "SearchUsersByImage",
            "TagResource",
            "UntagResource",
            "{operation}",
        )
    },
}


def routes_of(routes: Sequence[Any]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods or ())
        elif hasattr(route, "original_router"):
            yield from routes_of(route.original_router.routes)


ROUTES = sorted(set(routes_of(make_app(cast("Backend", None)).routes)), key=lambda route: route[::-1])


GRANTS: Mapping[str, Sequence[str]] = {OWN: ["images"], COLLECTION: ["secret"], TENANT: ["*"]}


class Asked:
    """Asks for each cell of the table, in a world that no cell before it has changed."""

    def __init__(self, folder: Path) -> None:
        worlds = Worlds(folder)
        self._worlds = worlds
        # Whoever may reach one collection asks for it and for another one of the tenant. Whoever may reach
        # all of the tenant's asks for those of another tenant.
        self._headers = {
            (role, everything): worlds.make_key("acme", role, collections=["*"] if everything else ["images"])
            for role in KeyRole
            for everything in (False, True)
        }
        self._key_ids = {
            place: id_of(worlds.make_key(tenant, KeyRole.SEARCHER, collections=GRANTS[place]))
            for place, tenant in {OWN: "acme", COLLECTION: "acme", TENANT: "other"}.items()
        }
        self._open = ExitStack()
        self._world: TenantWorld | None = None
        self._made_for: tuple[Route, str] | None = None  # a cell with something to be done first

    def status(self, route: Route, place: str, role: KeyRole | None) -> int:
        method, path = route
        example, world, collection = EXAMPLES[route], self._world_for(route, place), PLACES[place]
        named = {
            "COLLECTION": collection,
            "IMAGE": image_of(collection),
            "{name}": collection,
            "{collection}": collection,
            "{image_id}": (failed_image_of if "/failures/" in path else image_of)(collection),
            "{job_id}": world.jobs[collection],
            "{key_id}": self._key_ids[place],
            "{code}": "denied",
            "{person_id}": "anna",
            "{number}": "2",
            "{match_id}": f"{RECEIPTS[place]}-1",
            "{receipt}": RECEIPTS[place],
            "{shape}": "annual",
            "{entry}": str(list(PLACES).index(place)),
        }
        before = what_is_of_other(world) if place == TENANT else []
        answer = world.client.request(
            method,
            filled(path, named),
            params=filled(example.params, named),
            json=filled(example.json, named),
            content=filled(example.content, named),
            headers=self._headers[role, place == TENANT] if role else {},
            follow_redirects=False,
        )
        if place == TENANT:
            assert what_is_of_other(world) == before, f"{route} by {role} has reached the other tenant"
        if method != "GET" and answer.status_code < 300:
            self._world = None
        return answer.status_code

    def _world_for(self, route: Route, place: str) -> TenantWorld:
        before = EXAMPLES[route].before
        made_for = (route, place) if before else None
        if self._world is None or self._made_for != made_for:
            self.close()
            self._world, self._made_for = self._open.enter_context(self._worlds.world()), made_for
            if before:
                before(self._world, self._world.jobs[PLACES[place]])
        return self._world

    def close(self) -> None:
        self._open.close()


def id_of(headers: Mapping[str, str]) -> str:
    return headers["authorization"].removeprefix("Bearer pictor_sk_")[:12]


def filled(value: Any, named: dict[str, str]) -> Any:
    """The value with the names of a place put into its texts."""
    if isinstance(value, dict):
        return {key: filled(part, named) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, named) for part in value]
    if isinstance(value, bytes) and value != PICTURE:
        return filled(value.decode(), named).encode()
    if isinstance(value, str):
        for word, meant in named.items():
            value = value.replace(word, meant)
    return value


def what_is_of_other(world: TenantWorld) -> list[object]:
    """All that the service holds of the tenant that nobody here is of."""
    index, ledger = world.deps.index, world.deps.ledger
    infos = [info for info in index.list_collections() if "other" in info.name]
    return [
        infos,
        [sorted(image.ref.image_id for image in index.list_images(info.ref)) for info in infos],
        ledger.get_job(world.jobs["quokka"]),
        [key for key in world.backend.keys.list_keys() if key.tenant == "other"],
        list(ledger.failures(world.jobs["quokka"])),
        world.backend.policies.history("tenant_other_quokka"),
        world.backend.persons.page("tenant_other_quokka", limit=1),
        world.backend.policies.find_clock("tenant_other_quokka", "AB-1"),
        world.backend.verifications.of_search(RECEIPTS[TENANT]),
    ]


def places_of(route: Route) -> Sequence[str]:
    """One place is enough for a route that names nothing."""
    example = EXAMPLES[route]
    words = f"{route[1]} {example.params} {example.json} {example.content!r}"
    named = (
        "{match_id}",
        "{receipt}",
        "{name}",
        "{collection}",
        "{job_id}",
        "{key_id}",
        "{entry}",
        "COLLECTION",
    )
    return tuple(PLACES) if any(word in words for word in named) else (OWN,)


def rows(asked: Asked, routes: Sequence[Route]) -> Iterator[str]:
    for method, path in routes:
        places = places_of((method, path))
        for place in places:
            statuses = [str(asked.status((method, path), place, role)) for role in ROLES]
            yield line(method, path, place if len(places) > 1 else "-", statuses)


def line(method: str, path: str, place: str, cells: Sequence[str]) -> str:
    return f"{method:6} {path:65} {place:18} {'  '.join(f'{cell:8}' for cell in cells)}".rstrip()


def test_every_route_has_an_example() -> None:
    assert set(EXAMPLES) == set(ROUTES)


def table() -> list[str]:
    return TABLE.read_text().splitlines()[1:]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    asked = Asked(tmp_path_factory.mktemp("roles"))
    yield asked
    asked.close()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: " ".join(route))
def test_the_table_says_what_each_role_is_answered(route: Route, asked: Asked) -> None:
    method, path = route
    expected = [row for row in table() if row.split()[:2] == [method, path]]
    assert expected, "the route has no row"
    assert list(rows(asked, [route])) == expected


# What must hold of the table, whoever wrote it


def cells() -> Iterator[tuple[str, str, list[int]]]:
    """Path, place and the statuses of the roles."""
    for row in table():
        yield row.split()[1], row[73:91].strip(), [int(status) for status in row[92:].split()]


def test_nobody_is_answered_without_a_key_but_where_it_is_open() -> None:
    for path, _, statuses in cells():
        if not is_open(path):
            assert statuses[-1] in (401, 303), path


def test_no_key_reaches_a_foreign_collection_or_tenant() -> None:
    makes_its_own = (
        "/v1/collections",
        "/v1/jobs",
        "/v1/jobs/estimate",
        "/jobs",
        "/v1/keys",
    )  # of that name: the other's is as it was
    # A policy may be set before there is a collection: it is the own one's of that name.
    of_policies = {POLICY, f"{POLICY}/versions", DECIDE_CASE}
    queues = {"/v1/verifications", "/verify"}  # of the own collection of that name: test_api_verifications
    for path, place, statuses in cells():
        if place == TENANT and path in of_policies | queues:
            continue
        if place in (COLLECTION, TENANT) and not path.startswith("/v1/keys/") and path not in makes_its_own:
            assert all(status >= 300 for status in statuses), (path, place)


def test_who_looks_on_changes_nothing_and_searches_nobody() -> None:
    for row in table():
        method, path = row.split()[:2]
        if method != "GET" and not is_open(path):
            statuses = {role: int(row[92:].split()[ROLES.index(role)]) for role in LOOKERS_ON}
            assert statuses[KeyRole.AUDITOR] >= 300 or path in LOOKS, path
            assert statuses[KeyRole.APPROVER] >= 300 or path in DECISIONS, path
            assert statuses[KeyRole.VERIFIER] >= 300 or path in VERIFICATIONS, path


# They change nothing but the log of who looked. Bodies, since names stand in no address (decision 0165).
LOOKS = {"/audit", "/audit/reports/{shape}", "/v1/audit/search", "/v1/audit/reports/{shape}"}
# What an approver is for.
DECISIONS = {*(f"{POLICY}/versions/{{number}}/{word}" for word in ("approve", "refuse")), DECIDE_CASE}
VERIFICATIONS = {f"{MATCH}/decision"}  # what a verifier is for
LOOKERS_ON = (KeyRole.AUDITOR, KeyRole.APPROVER, KeyRole.VERIFIER)


if __name__ == "__main__":
    head = line("", "", "", [role or "no key" for role in ROLES])
    with tempfile.TemporaryDirectory() as made:
        everybody = Asked(Path(made))
        TABLE.write_text("\n".join([head, *rows(everybody, ROUTES)]) + "\n")
        everybody.close()
