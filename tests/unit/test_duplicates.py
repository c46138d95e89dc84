"""Copies within a collection: which images belong together, which one is kept, and by whose vectors."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.adapters.beside.index import BesideIndex
from pipeline.errors import ArgumentError, DeniedError, PolicyError, TransientError
from pipeline.ports import Deps
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.duplicates import Duplicates, choose_embedding, find_duplicates
from pipeline.service.search import SearchPorts
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import (
    LOCAL_ROLE,
    CollectionPolicy,
    CollectionRef,
    IndexRow,
    Justification,
    Purpose,
    image_id_of,
)
from tests.accountable import policy_version
from tests.contract.indexes import BUCKET, model, row, views_model
from tests.index_rows import put
from tests.unit.api_client import backend_of, client_of
from tests.unit.fakes import LIMITS
from tests.unit.test_embeddings_doors import COPY_SPEC, two

NAME = "photos"


def at(degrees: float, dim: int = 8) -> NDArray[np.float32]:
    """A point of the circle through the first two axes."""
    vector = np.zeros(dim, dtype=np.float32)
    vector[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector


def rows_at(places: Mapping[str, float]) -> list[IndexRow]:
    return [row(key, at(degrees)) for key, degrees in places.items()]


@pytest.fixture
def ports(deps: Deps, log: MemoryAuditLog, tmp_path: Path) -> SearchPorts:
    return backend_of(replace(deps, index=BesideIndex(MemoryIndex())), tmp_path, log=log).search_ports()


@pytest.fixture
def ref(ports: SearchPorts) -> CollectionRef:
    return ports.index.create_collection(NAME, model()).ref


def find(ports: SearchPorts, **wanted: object) -> list[Duplicates]:
    return find_duplicates(NAME, ports, LIMITS, local_caller(), **({"embedding": "main"} | wanted))  # type: ignore[arg-type]


def keys_of(found: list[Duplicates]) -> list[list[str]]:
    return [[group.kept.key, *(hit.key for hit in group.copies)] for group in found]


def test_images_above_the_floor_belong_together_and_so_do_the_copies_of_copies(
    ports: SearchPorts, ref: CollectionRef
) -> None:
    # cos 20° is 0.94, cos 40° 0.77: "a" and "c" meet by way of "b" alone.
    put(ports.index, ref, rows_at({"a": 0, "b": 20, "c": 40, "alone": 100, "x": 200, "y": 201}))
    found = find(ports)
    assert [set(keys) for keys in keys_of(found)] == [{"a", "b", "c"}, {"x", "y"}]
    assert [hit.score for hit in found[1].copies] == [pytest.approx(np.cos(np.radians(1)), abs=1e-5)]
    assert keys_of(find(ports, min_score=0.95)) == [["x", "y"]]
    assert find(ports, min_score=0.99999) == []


def test_the_largest_is_kept_then_that_of_most_bytes_then_the_oldest(
    ports: SearchPorts, ref: CollectionRef
) -> None:
    same = row("same", at(0))
    large = replace(row("large", at(1)), width=641)
    older = replace(row("seem", at(0)), indexed_at=same.indexed_at - timedelta(days=1))
    heavy = replace(row("heavy", at(0)), ref=replace(row("heavy").ref, size_bytes=10))
    for rows, kept in (([same, large], "large"), ([same, older], "seem"), ([same, older, heavy], "heavy")):
        ports.index.delete_images(ref, [image_id_of(BUCKET, key) for key in ("large", "seem", "heavy")])
        put(ports.index, ref, rows)
        [group] = find(ports)
        assert group.kept.key == kept


@pytest.mark.parametrize("apart_degrees", [0.0, 0.01], ids=["equal", "alike"])
def test_more_images_than_an_image_has_neighbours_are_one_group(
    ports: SearchPorts, ref: CollectionRef, apart_degrees: float
) -> None:
    put(ports.index, ref, rows_at({f"{number:03}": number * apart_degrees for number in range(130)}))
    [group] = find(ports)
    assert len({group.kept.id, *(hit.id for hit in group.copies)}) == 130
    assert group.kept.key == "000"


def test_a_prefix_is_a_text_and_no_other_key_is_compared(ports: SearchPorts, ref: CollectionRef) -> None:
    put(ports.index, ref, rows_at({"a_1": 0, "a_2": 0, "ab1": 0, "a%3": 0}))
    assert [sorted(keys) for keys in keys_of(find(ports, key_prefix="a_"))] == [["a_1", "a_2"]]


def test_the_embedding_of_copies_is_compared_where_there_is_one(ports: SearchPorts) -> None:
    spec = two(model(dim=8))
    ref = ports.index.create_collection(NAME, spec).ref
    dim = COPY_SPEC.dim
    rows = [
        replace(one, beside={"copies": at(degrees, dim)})
        for one, degrees in zip(rows_at({"a": 0, "b": 0, "c": 90}), (0, 90, 90), strict=True)
    ]
    put(ports.index, ref, rows)
    info = ports.index.get_collection(NAME)
    assert info is not None
    assert (choose_embedding(info), choose_embedding(info, "main")) == ("copies", "main")
    assert choose_embedding(replace(info, beside={})) == "main"
    assert keys_of(find(ports, embedding="copies")) == [["b", "c"]]
    assert keys_of(find(ports, embedding="main")) == [["a", "b"]]
    with pytest.raises(ArgumentError, match="there are: main, copies"):
        find(ports, embedding="faces")


def test_each_comparison_is_recorded_and_a_policy_holds(
    ports: SearchPorts, ref: CollectionRef, log: MemoryAuditLog
) -> None:
    put(ports.index, ref, rows_at({"a": 0, "b": 1, "c": 90}))
    find(ports)
    records = [json.loads(entry.record) for entry in log.entries() if entry.record]
    assert sorted(record["details"]["query"] for record in records) == sorted(
        image_id_of(BUCKET, key) for key in "abc"
    )
    policy = CollectionPolicy(purposes=(Purpose(code="tidy", text="Tidy up"),), roles=(LOCAL_ROLE,))
    ports.answers_to.policies.add(policy_version(NAME, policy))
    fresh = replace(ports, answers_to=replace(ports.answers_to))
    with pytest.raises(PolicyError, match="no purpose is stated"):
        find(fresh)
    assert len(find(fresh, justification=Justification(purpose="tidy"))) == 1


def test_who_may_search_and_not_list_is_refused(ports: SearchPorts, ref: CollectionRef) -> None:
    caller = Caller(who="ann", permissions=frozenset({Permission.SEARCH}))
    with pytest.raises(DeniedError):
        find_duplicates(NAME, ports, LIMITS, caller, embedding="main")


def test_faces_are_no_copies_of_each_other(ports: SearchPorts) -> None:
    ports.index.create_collection(NAME, views_model())
    with pytest.raises(ArgumentError, match="is of faces; duplicates are whole images"):
        find(ports)


# Over HTTP


def test_the_service_finds_duplicates(deps: Deps, log: MemoryAuditLog, tmp_path: Path) -> None:
    backend = backend_of(replace(deps, index=BesideIndex(MemoryIndex())), tmp_path, log=log)
    ref = backend.index.create_collection(NAME, model()).ref
    put(backend.index, ref, rows_at({"a": 0, "b": 1, "c": 90}))
    policy = CollectionPolicy(purposes=(Purpose(code="tidy", text="Tidy up"),), roles=(LOCAL_ROLE,))
    backend.policies.add(policy_version(NAME, policy))
    path, client = f"/v1/collections/{NAME}/duplicates", client_of(backend)
    stated = {"justification": {"purpose": "tidy"}}
    told = client.post(path, json=stated | {"min_score": 0.9}).json()
    [group] = told["groups"]
    assert told["embedding"] == "main"
    assert [hit["key"] for hit in (group["kept"], *group["copies"])] == ["a", "b"]
    assert len(list(log.entries())) == 3
    assert client.post(path, json=stated | {"key_prefix": "c"}).json()["groups"] == []
    assert client.post(path, json={}, headers={"x-pictor-purpose": "tidy"}).json()["groups"]
    assert client.post(path, json={}).json()["code"] == "refused_by_policy"
    assert client.post("/v1/collections/none/duplicates", json=stated).status_code == 404

    log.fail_next(TransientError("away"))
    refused = client.post(path, json=stated).json()
    assert (refused["code"], "groups" in refused) == ("audit_unavailable", False)


def test_a_request_compares_so_many_images_and_says_how_to_go_on(
    ports: SearchPorts, ref: CollectionRef, log: MemoryAuditLog
) -> None:
    put(ports.index, ref, rows_at({"a_1": 0, "a_2": 0, "b": 0}))
    with pytest.raises(ArgumentError, match=r"over 2 images .* with key_prefix"):
        find(ports, max_images=2)
    assert list(log.entries()) == []
    assert len(find(ports, max_images=2, key_prefix="a_")) == 1
    assert len(find(ports, max_images=3)) == 1
