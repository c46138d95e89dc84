"""The policies of roles against a real object store: each user may do what it needs to, and no more."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.adapters.s3.config import S3Config
from pipeline.adapters.s3.rights import ROLE_RIGHTS, StorePlaces, policy_of
from pipeline.adapters.s3.store import S3Store
from pipeline.errors import ImageError, TargetError
from pipeline.location import Location
from pipeline.types import ObjectRef, Reason
from tests.conftest import missing
from tests.s3_users import S3Users
from tests.services import S3Server

# Objects by the place that they stand for. `{}` is a name of this run.
OBJECTS = {
    "source": ("{}-photos", "in/a.jpg"),
    "no source": ("{}-private", "a.jpg"),
    "block": ("{}-staging", "job/00000001"),
    "upload": ("{}-shared", "uploads/default/a"),
    "beside uploads": ("{}-shared", "other/a"),
    "tile": ("{}-log", "tiles/checkpoint"),
    "beside tiles": ("{}-log", "other"),
    "checkpoint": ("{}-kept", "copies/checkpoint"),
}
READS_IMAGES = {"get source", "get upload", "list source", "list upload", "list beside uploads"}
PUBLISHES = {
    *("get tile", "put tile", "delete tile", "list tile", "list beside tiles"),
    *("get checkpoint", "put checkpoint", "list checkpoint"),
}
MAY = {
    "plan": PUBLISHES | {"list source", "list upload", "list beside uploads"},
    "prepare": READS_IMAGES | {"put block", "delete block"},
    "embed": READS_IMAGES | {"get block", "list block", "delete block"},
    "search": READS_IMAGES | PUBLISHES,
    "api": READS_IMAGES | PUBLISHES | {"put upload", "delete upload"},
    "sweep": {"list block", "delete block"},
}


@pytest.fixture(scope="module")
def config(s3_server: S3Server) -> S3Config:
    """Of the owner of everything."""
    if s3_server.service is None:
        missing("users are made through Ceph's own interface, of a server of these tests")
    return S3Config(
        endpoint=s3_server.endpoint, access_key=s3_server.access_key, secret_key=s3_server.secret_key
    )


@pytest.fixture(scope="module")
def name() -> str:
    return f"r{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def owner(config: S3Config, name: str) -> S3Store:
    store = S3Store(config)
    for bucket, _ in OBJECTS.values():
        store.make_bucket(bucket.format(name))
    return store


def places(name: str, *sources: str) -> StorePlaces:
    def place(object_name: str) -> Location:
        bucket, key = OBJECTS[object_name]
        prefix = f"{key.partition('/')[0]}/"
        return Location(url="", bucket=bucket.format(name), prefix=prefix)

    return StorePlaces(
        sources=sources,
        staging=f"{name}-staging",
        uploads=place("upload"),
        tiles=place("tile"),
        checkpoints=place("checkpoint"),
    )


@pytest.fixture
def users(config: S3Config, name: str) -> Iterator[S3Users]:
    users = S3Users(config.endpoint, config.access_key, config.secret_key)
    yield users
    users.drop(name)


def store_of(role: str, config: S3Config, users: S3Users, name: str, *, sources: tuple[str, ...]) -> S3Store:
    user = users.make(name, policy_of([role], places(name, *sources)))
    return S3Store(replace(config, access_key=user.access_key, secret_key=user.secret_key, attempts=1))


def is_allowed(store: S3Store, act: str, ref: ObjectRef) -> bool:
    try:
        match act:
            case "get":
                assert store.get(ref, max_bytes=100).body == b"x"
            case "list":
                assert any(store.list_objects(ref.bucket))
            case "put":
                store.put(ref.bucket, ref.key, b"x")
            case "delete":
                store.delete(ref.bucket, ref.key)
            case _:
                raise AssertionError(act)
    except ImageError as err:
        return err.reason is not Reason.ACCESS_DENIED
    except TargetError as err:
        return "may not do this" not in str(err)
    return True


@pytest.mark.parametrize("role", ROLE_RIGHTS)
def test_a_role_may_do_what_it_needs_and_nothing_else(
    role: str, config: S3Config, owner: S3Store, users: S3Users, name: str
) -> None:
    store = store_of(role, config, users, name, sources=(f"{name}-ph*",))
    allowed = set()
    for what, (bucket, key) in OBJECTS.items():
        owner.put(bucket.format(name), key, b"x")
        ref = owner.stat(bucket.format(name), key)
        for act in ("get", "list", "put", "delete"):  # what is deleted was looked at before
            allowed |= {f"{act} {what}"} if is_allowed(store, act, ref) else set()
    assert allowed == MAY[role]
    with pytest.raises(TargetError, match="may not do this"):
        store.make_bucket(f"{name}-of-its-own")


@pytest.mark.parametrize("role", ["prepare", "embed", "search", "api"])
def test_who_may_read_is_told_of_an_object_that_is_gone_that_it_is_gone(
    role: str, config: S3Config, owner: S3Store, users: S3Users, name: str
) -> None:
    store = store_of(role, config, users, name, sources=(f"{name}-ph*",))
    gone = [(f"{name}-photos", "gone"), (f"{name}-shared", "uploads/gone")]
    if role == "embed":
        gone.append((f"{name}-staging", "job/gone"))
    if role in ("search", "api"):
        gone += [(f"{name}-log", "tiles/gone"), (f"{name}-kept", "copies/gone")]
    for bucket, key in gone:
        with pytest.raises(ImageError) as caught:
            store.stat(bucket, key)
        assert caught.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize("role", ["plan", "prepare", "search", "api"])
def test_where_all_buckets_are_sources_the_staging_bucket_is_none(
    role: str, config: S3Config, owner: S3Store, users: S3Users, name: str
) -> None:
    store = store_of(role, config, users, name, sources=("*",))
    for bucket in (f"{name}-private", f"{name}-staging"):
        owner.put(bucket, "job/00000001", b"x")
    assert is_allowed(store, "list", owner.stat(f"{name}-private", "job/00000001"))
    block = owner.stat(f"{name}-staging", "job/00000001")
    assert not is_allowed(store, "get", block)
    assert not is_allowed(store, "list", block)
