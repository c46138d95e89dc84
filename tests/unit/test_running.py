"""The file by which commands find the service that runs beside them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.running_service import find_service
from pipeline.errors import ArgumentError, ConfigError
from pipeline.home import OURS
from pipeline.running import FILE_NAME, Announcement, digest_of_stores, find_server
from tests.conftest import REPOSITORY

STORES = digest_of_stores(milvus_uri="", ledger_url="")
URL = "http://127.0.0.1:8780"


def test_a_service_is_found_for_as_long_as_it_runs(tmp_path: Path) -> None:
    assert find_server(tmp_path, stores=STORES) is None
    with Announcement(tmp_path, stores=STORES) as announced:
        assert find_server(tmp_path, stores=STORES) is None, "it does not answer yet"
        announced.publish(URL)
        found = find_server(tmp_path, stores=STORES)
        assert found is not None
        assert (found.url, found.pid, found.token) == (URL, os.getpid(), announced.token)
        assert announced.token not in repr(found)
        assert find_server(tmp_path, stores=STORES) == found, "to look changes nothing"
    assert find_server(tmp_path, stores=STORES) is None
    assert list(tmp_path.iterdir()) == []


def test_a_service_takes_away_no_file_but_its_own(tmp_path: Path) -> None:
    """Two services over a Milvus server may have one home. The one that came last is asked."""
    with Announcement(tmp_path, stores=STORES) as first:
        first.publish(URL)
        with Announcement(tmp_path, stores=STORES) as second:
            second.publish("http://127.0.0.1:8781")
            first.__exit__(None, None, None)
            found = find_server(tmp_path, stores=STORES)
            assert found is not None
            assert found.token == second.token
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_announced_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()  # which no file can replace
    with (
        pytest.raises(ConfigError, match=f"{FILE_NAME} cannot be written"),
        Announcement(tmp_path, stores=STORES) as announced,
    ):
        announced.publish(URL)
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_the_file_is_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Announcement(tmp_path, stores=STORES) as announced:
            announced.publish(URL)
            assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    assert FILE_NAME.startswith(OURS), "a home that is closed has it closed, too"


def test_two_services_have_two_tokens(tmp_path: Path) -> None:
    tokens = {Announcement(tmp_path, stores=STORES).token for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 40


def test_the_file_of_a_service_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from pipeline.running import Announcement
with Announcement(pathlib.Path({str(tmp_path)!r}), stores={STORES!r}) as announced:
    announced.publish({URL!r})
    print("ready", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert find_server(tmp_path, stores=STORES) is not None
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / FILE_NAME).exists(), "nobody has cleaned up"
    assert find_server(tmp_path, stores=STORES) is None
    with Announcement(tmp_path, stores=STORES) as announced:  # and it is in nobody's way
        announced.publish(URL)
        assert find_server(tmp_path, stores=STORES) is not None


def test_a_service_of_another_index_or_ledger_is_not_asked(tmp_path: Path) -> None:
    others = [
        digest_of_stores(milvus_uri="http://milvus:19530", ledger_url=""),
        digest_of_stores(milvus_uri="", ledger_url="sqlite:///other.db"),
    ]
    with Announcement(tmp_path, stores=STORES) as announced:
        announced.publish(URL)
        assert [find_server(tmp_path, stores=stores) for stores in others] == [None, None]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606])
def test_a_file_that_others_may_read_or_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    with Announcement(tmp_path, stores=STORES) as announced:
        announced.publish(URL)
        (tmp_path / FILE_NAME).chmod(mode)
        assert find_server(tmp_path, stores=STORES) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Announcement(elsewhere, stores=STORES) as announced:
        announced.publish(URL)
        (tmp_path / FILE_NAME).symlink_to(elsewhere / FILE_NAME)
        assert find_server(tmp_path, stores=STORES) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", json.dumps({"stores": STORES, "url": URL}).encode()]
)
def test_a_file_of_another_version_is_none(tmp_path: Path, body: bytes) -> None:
    with Announcement(tmp_path, stores=STORES) as announced:
        announced.publish(URL)
        (tmp_path / FILE_NAME).write_bytes(body)
        assert find_server(tmp_path, stores=STORES) is None


def test_a_service_that_is_named_comes_before_one_that_runs_beside(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(exist_ok=True)
    assert find_service() is None
    with Announcement(home, stores=STORES) as announced:
        announced.publish(URL)
        beside = find_service()
        assert beside is not None
        assert (beside.url, beside.key, beside.is_beside) == (URL, announced.token, True)
        monkeypatch.setenv("PICTOR_API", "https://pictor.example")
        monkeypatch.setenv("PICTOR_API_KEY", "k")
        named = find_service()
        assert named is not None
        assert (named.url, named.key, named.is_beside) == ("https://pictor.example", "k", False)
        assert announced.token not in repr(beside) + repr(named)
        with pytest.raises(ArgumentError, match="--html cannot be given to the service at https://pictor"):
            named.refuse({"--model": "", "--html": "x"})
