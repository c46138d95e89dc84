"""Where credentials come from when none are given, and how both clients see them change."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline.adapters.s3.config import S3Config
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.errors import ConfigError, TransientError


class RoleService:
    """Answers as a container's role service does: new keys at each request, or an error."""

    def __init__(self) -> None:
        self.valid_for = timedelta(hours=1)
        self.asked = 0
        self.fails = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = service.next_answer()
                self.send_response(500 if service.fails else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,), name="role service")
        self.thread.start()

    def next_answer(self) -> bytes:
        self.asked += 1
        expiration = (datetime.now(UTC) + self.valid_for).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {"AccessKeyId": f"key-{self.asked}", "SecretAccessKey": "secret", "Token": "token"}
        return json.dumps(keys | {"Expiration": expiration}).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def role_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[RoleService]:
    service = RoleService()
    url = f"http://127.0.0.1:{service.server.server_port}/"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    yield service
    service.stop()


def test_given_keys_are_used_and_nobody_is_asked(role_service: RoleService) -> None:
    source = CredentialSource(S3Config(access_key="mine", secret_key="secret", session_token="token"))
    assert source.retrieve().access_key == "mine"
    assert source() == {
        "access_key_id": "mine",
        "secret_access_key": "secret",
        "token": "token",
        "expires_at": None,
    }
    assert role_service.asked == 0


def test_the_credentials_file_is_read_before_the_role_is_asked(
    tmp_path: Path, role_service: RoleService
) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = filed\naws_secret_access_key = secret\n"
    )
    assert CredentialSource(S3Config()).retrieve().access_key == "filed"
    assert role_service.asked == 0


def test_a_damaged_credentials_file_is_the_callers_to_mend(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("aws_secret_access_key = not-to-be-shown\n")
    with pytest.raises(ConfigError) as error:
        CredentialSource(S3Config()).retrieve()
    assert "not-to-be-shown" not in str(error.value)


def test_both_clients_share_the_keys_of_a_role_and_learn_when_they_end(role_service: RoleService) -> None:
    source = CredentialSource(S3Config())
    assert source.retrieve().access_key == source()["access_key_id"] == "key-1"
    expires_at = source()["expires_at"]
    assert expires_at is not None
    assert timedelta(minutes=59) < expires_at - datetime.now(UTC) <= timedelta(hours=1)
    assert role_service.asked == 1


def test_keys_that_have_expired_are_renewed(role_service: RoleService) -> None:
    role_service.valid_for = timedelta(seconds=1)  # within the margin of 10 s: expired at once
    source = CredentialSource(S3Config())
    assert [source.retrieve().access_key, source()["access_key_id"]] == ["key-1", "key-2"]


def test_keys_that_cannot_be_renewed_are_a_matter_of_time(role_service: RoleService) -> None:
    role_service.valid_for = timedelta(seconds=1)
    source = CredentialSource(S3Config())
    source.retrieve()
    role_service.fails = True
    with pytest.raises(TransientError):
        source.retrieve()


def test_a_role_that_never_answered_is_the_callers_to_mend(role_service: RoleService) -> None:
    role_service.fails = True
    with pytest.raises(ConfigError, match="PICTOR_S3_ACCESS_KEY"):
        CredentialSource(S3Config()).retrieve()
