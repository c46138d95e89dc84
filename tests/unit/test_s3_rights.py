"""Policies of the object store, and the users that `pictor init` makes in one of MinIO's kind."""

import json
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from minio.crypto import decrypt
from urllib3 import HTTPResponse, PoolManager

from deploy.make_secrets import S3_ROLES
from pipeline.adapters.s3.config import S3Config
from pipeline.adapters.s3.rights import ROLE_RIGHTS, StorePlaces, policy_of
from pipeline.adapters.s3.users import make_users, read_users
from pipeline.errors import ArgumentError, ConfigError, CredentialsError, TransientError
from pipeline.location import parse_location
from pipeline.settings import Settings
from pipeline.wiring import store_policy

PLACES = StorePlaces(sources=("photos-*", "press"), staging="pictor-staging")
OWNER = S3Config(endpoint="http://store:9000", access_key="owner", secret_key="owner-secret")


def allows(policy: dict[str, Any], action: str, name: str) -> bool:
    """As IAM decides: what is denied is not allowed."""
    effects = {
        one["Effect"]
        for one in policy["Statement"]
        if action in one["Action"]
        and any(fnmatchcase(f"arn:aws:s3:::{name}", resource) for resource in one["Resource"])
    }
    return effects == {"Allow"}


def test_the_roles_are_those_that_secrets_are_made_for() -> None:
    assert set(ROLE_RIGHTS) == set(S3_ROLES)


@pytest.mark.parametrize("role", sorted(ROLE_RIGHTS))
def test_no_role_may_do_more_with_a_bucket_than_list_it(role: str) -> None:
    statements: Any = policy_of([role], PLACES)["Statement"]
    actions = {action for one in statements for action in one["Action"]}
    assert actions <= {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    assert all(one["Resource"] and one["Action"] for one in statements)


def test_where_every_bucket_is_a_source_the_staging_bucket_is_none() -> None:
    everywhere = StorePlaces(sources=("*",), staging="pictor-staging")
    policy = policy_of(["plan"], everywhere)
    assert allows(policy, "s3:ListBucket", "photos")
    assert not allows(policy, "s3:ListBucket", "pictor-staging")
    prepare = policy_of(["prepare"], everywhere)
    assert allows(prepare, "s3:GetObject", "photos/a.jpg")
    assert not allows(prepare, "s3:GetObject", "pictor-staging/job/00000001")
    assert allows(prepare, "s3:PutObject", "pictor-staging/job/00000001")


def test_a_user_of_two_roles_may_do_the_work_of_both() -> None:
    both = policy_of(["plan", "embed"], StorePlaces(sources=("*",), staging="pictor-staging"))
    assert allows(both, "s3:GetObject", "pictor-staging/job/00000001")
    assert allows(both, "s3:ListBucket", "photos")


def test_weights_in_the_store_may_be_read_and_nothing_beside_them() -> None:
    weights = parse_location("s3://models/resnet.safetensors")
    policy = policy_of(["plan"], StorePlaces(sources=("press",), staging="blocks", weights=[weights]))
    assert allows(policy, "s3:GetObject", "models/resnet.safetensors")
    assert not allows(policy, "s3:GetObject", "models/other.safetensors")


def test_both_networks_of_a_face_model_may_be_read(tmp_path: Path) -> None:
    file = tmp_path / "faces.toml"
    file.write_text(
        f"""name = "faces"
[finder]
detector = "yunet"
weights = "s3://models/finder.onnx"
sha256 = "{"a" * 64}"
[aligner]
[embedder]
weights = "s3://models/embedder.onnx"
sha256 = "{"b" * 64}"
dim = 128
"""
    )
    policy = store_policy(Settings(model=str(file)), ["plan"])
    for network in ("finder", "embedder"):
        assert allows(policy, "s3:GetObject", f"models/{network}.onnx")
    assert not allows(policy, "s3:GetObject", "models/other.onnx")


def test_models_in_buckets_may_be_read_and_neither_listed_nor_written(tmp_path: Path) -> None:
    file = tmp_path / "net.toml"
    file.write_text('name = "net"\narchitecture = "hf"\nweights = "s3://models/acme/net"\n')
    settings = Settings(model=str(file), allowed_buckets="press", model_store="s3://hub/team")
    for role in set(ROLE_RIGHTS) - {"sweep"}:
        policy = store_policy(settings, [role])
        for key in ("models/acme/net/config.json", "hub/team/org/net/model.safetensors"):
            assert allows(policy, "s3:GetObject", key)
            assert not allows(policy, "s3:PutObject", key)
        assert not allows(policy, "s3:GetObject", "models/acme/net-2/config.json")
        assert not allows(policy, "s3:GetObject", "hub/teams/config.json")
        assert not allows(policy, "s3:ListBucket", "models")
    assert not allows(store_policy(settings, ["sweep"]), "s3:GetObject", "hub/team/org/net/config.json")


def test_what_has_no_form_in_a_policy_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match=r"PICTOR_ALLOWED_BUCKETS: 'shop-\[ab\]' has no form"):
        policy_of(["plan"], StorePlaces(sources=("shop-[ab]",), staging="blocks"))
    with pytest.raises(ArgumentError, match=r"no role 'planner'.*plan, prepare, embed"):
        policy_of(["planner"], PLACES)


class AdminServer(PoolManager):
    """The interface of MinIO for users, as far as it is asked."""

    def __init__(self, *, status: int = 200) -> None:
        super().__init__()
        self.status = status
        self.users: dict[str, str] = {}
        self.policies: dict[str, object] = {}
        self.given: dict[str, str] = {}

    def urlopen(self, method: str, url: str, *_: Any, body: Any = None, **__: Any) -> Any:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.status == 200:
            self._do(parts.path.rpartition("/")[2], query, body or b"")
        return HTTPResponse(body=b"{}", status=self.status)

    def _do(self, command: str, query: dict[str, str], body: bytes) -> None:
        match command:
            case "add-user":
                sealed = HTTPResponse(body=BytesIO(body), preload_content=False)
                self.users[query["accessKey"]] = json.loads(decrypt(sealed, OWNER.secret_key))["secretKey"]
            case "add-canned-policy":
                self.policies[query["name"]] = json.loads(body)
            case "set-user-or-group-policy":
                assert query["isGroup"] == "false"
                assert query["userOrGroup"] in self.users
                assert query["policyName"] in self.policies
                self.given[query["userOrGroup"]] = query["policyName"]
            case _:
                raise AssertionError(command)


def test_each_role_gets_a_user_with_the_policy_of_the_role() -> None:
    server = AdminServer()
    users = json.dumps({"plan": "pictor-plan:secret-of-plan", "embed": "pictor-embed:secret:of:embed"})
    for _ in range(2):  # safe to run twice
        made = make_users(OWNER, users, PLACES, http=server)
        assert made == {"plan": "pictor-plan", "embed": "pictor-embed"}
    assert server.users == {"pictor-plan": "secret-of-plan", "pictor-embed": "secret:of:embed"}
    assert server.given == {"pictor-plan": "pictor-plan", "pictor-embed": "pictor-embed"}
    assert server.policies == {f"pictor-{role}": policy_of([role], PLACES) for role in ("plan", "embed")}


@pytest.mark.parametrize(
    "text",
    [
        "plan=a:b",
        "[]",
        "{}",
        '{"plan": "key"}',
        '{"plan": "key:short"}',
        '{"plan": ":long-enough-secret"}',
        '{"plan": "owner:long-enough-secret"}',
        '{"planner": "key:long-enough-secret"}',
        '{"plan": 5}',
    ],
)
def test_users_that_cannot_be_made_are_refused_without_their_secret(text: str) -> None:
    with pytest.raises(ConfigError, match="PICTOR_S3_USERS: ") as caught:
        read_users(text, other_than="owner")
    assert "long-enough-secret" not in str(caught.value)
    assert "short" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, CredentialsError, "may not make users"),
        (404, ConfigError, "for stores of MinIO's kind"),
        (405, ConfigError, "pictor init --s3-policy"),
        (503, TransientError, "answered 503"),
    ],
)
def test_a_store_that_makes_no_users_says_what_to_do(status: int, error: type[Exception], words: str) -> None:
    users = json.dumps({"plan": "pictor-plan:secret-of-plan"})
    with pytest.raises(error, match=words) as caught:
        make_users(OWNER, users, PLACES, http=AdminServer(status=status))
    assert "secret-of-plan" not in str(caught.value)
