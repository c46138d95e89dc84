"""The Milvus user of workers: it makes and fills collections, and can take none away."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pytest
from pymilvus import MilvusClient

from devstack.milvus import Milvus
from pipeline import wiring
from pipeline.adapters.milvus.worker_role import ROLE, SERVICE_ROLE, make_service_role, make_worker_role
from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.errors import ConfigError, CredentialsError
from pipeline.types import IndexRow, ObjectRef
from tests.fleet import settings_of
from tests.services import MilvusServer, own_service

IMAGE = "0" * 32


@dataclass(frozen=True, kw_only=True)
class Place:
    """A collection that the worker has made, and how both users reach it."""

    index: wiring.OpenIndex
    client: MilvusClient
    name: str


@pytest.fixture(scope="module")
def unused_milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """Milvus 2.3.5 gives rights late, by minutes even, on a server that has dropped many collections."""
    with own_service(Milvus, tmp_path_factory.mktemp("milvus")) as service:
        yield MilvusServer(env=service.variables())


@pytest.fixture(scope="module")
def place(unused_milvus: MilvusServer) -> Iterator[Place]:
    name = f"w{secrets.token_hex(4)}"
    token = f"{name}:{secrets.token_hex(8)}"
    for _ in range(2):
        assert make_worker_role(unused_milvus.uri, owner_token=unused_milvus.token, token=token) == name
    owner = MilvusClient(unused_milvus.uri, token=unused_milvus.token)
    worker = MilvusClient(unused_milvus.uri, token=token, dedicated=True)
    env = {"PICTOR_MILVUS_URI": unused_milvus.uri, "PICTOR_MILVUS_TOKEN": token}
    with wiring.open_index(settings_of(env)) as index:
        index.create_collection(name, builtin_spec())
        yield Place(index=index, client=worker, name=name)
    worker.close()
    with wiring.open_index(settings_of(env | {"PICTOR_MILVUS_TOKEN": unused_milvus.token})) as index:
        index.drop_collection(name)
    owner.drop_user(name)
    owner.close()


def test_a_worker_does_all_that_a_job_and_a_search_need(place: Place) -> None:
    spec = builtin_spec()
    ref = place.index.live(place.name, latest=True)
    row = IndexRow(
        id=IMAGE,
        ref=ObjectRef(bucket="shop", key="a.jpg", etag="e", size_bytes=3),
        vector=np.full(spec.dim, spec.dim**-0.5, dtype=np.float32),
        width=1,
        height=1,
        indexed_at=datetime.now(UTC),
    )
    place.index.replace_images(ref, {IMAGE: [row]})
    assert list(place.index.get_versions(ref, [IMAGE])) == [IMAGE]
    assert [hit.id for [hit] in place.index.search(ref, np.stack([row.vector]), k=1)] == [IMAGE]
    assert [image.ref.key for image in place.index.list_images(ref)] == ["a.jpg"]
    place.index.flush(ref)
    place.index.delete_images(ref, [IMAGE])
    assert place.index.get_versions(ref, [IMAGE]) == {}


FORBIDDEN: dict[str, Callable[[Place], object]] = {
    "drop a collection": lambda p: p.client.drop_collection(p.index.live(p.name).generation),
    "drop an alias": lambda p: p.client.drop_alias(p.name),
    "rename": lambda p: p.client.rename_collection(p.index.live(p.name).generation, "mine"),
    "make a user": lambda p: p.client.create_user("mine", "a-long-password"),
    "look at users": lambda p: p.client.list_users(),
    "change the root's password": lambda p: p.client.update_password("root", "x", "a-long-password"),
    "make a role": lambda p: p.client.create_role("mine"),
    "become an administrator": lambda p: p.client.grant_role(p.name, "admin"),
    "give its role a right": lambda p: p.client.grant_privilege(ROLE, "Global", "DropCollection", "*"),
}


@pytest.mark.parametrize("act", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_worker_can_do_nothing_else(place: Place, act: Callable[[Place], object]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        act(place)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_service_drops_collections_and_makes_no_users(unused_milvus: MilvusServer, place: Place) -> None:
    token = f"s{secrets.token_hex(4)}:{secrets.token_hex(8)}"
    made = make_service_role(unused_milvus.uri, owner_token=unused_milvus.token, token=token)
    assert made == token.partition(":")[0]
    env = {"PICTOR_MILVUS_URI": unused_milvus.uri, "PICTOR_MILVUS_TOKEN": token}
    with wiring.open_index(settings_of(env)) as index:
        index.create_collection(f"{place.name}_service", builtin_spec())
        index.drop_collection(f"{place.name}_service")
        assert index.get_collection(f"{place.name}_service") is None
    client = MilvusClient(unused_milvus.uri, token=token, dedicated=True)
    with pytest.raises(grpc.RpcError) as caught:
        client.grant_privilege(SERVICE_ROLE, "Global", "CreateOwnership", "*")
    client.close()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_who_may_make_no_users_is_told_so(unused_milvus: MilvusServer, place: Place) -> None:
    with pytest.raises(ConfigError, match="a user of its own"):
        make_worker_role(unused_milvus.uri, owner_token="root:x", token="root:y")
    with pytest.raises(CredentialsError):
        make_worker_role(unused_milvus.uri, owner_token="nobody:x", token="other:y")
