"""What a user sees who gives something that cannot work: one line that names it, and the right exit code."""

import os
import re
from pathlib import Path

import pytest

from benchmarks.model_file import make_model_file
from pipeline.adapters.s3.config import S3Config
from pipeline.adapters.s3.store import S3Store
from pipeline.demo.scenes import draw_scene
from tests.cli import Pictor
from tests.services import S3Server

# Tests may run as root, whom no permission stops unless these two powers are taken away.
WITHOUT_ROOTS_POWER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "gallery"
    path.mkdir()
    draw_scene(1).save(path / "a.jpg")
    return path


def test_a_missing_folder(pictor: Pictor) -> None:
    assert error_of(pictor, "ingest", "/nowhere/photos") == "error: folder /nowhere/photos does not exist"


def test_a_file_in_the_place_of_a_folder(pictor: Pictor, folder: Path) -> None:
    expected = f"error: {folder}/a.jpg is a file; a folder or s3://bucket/prefix is expected"
    assert error_of(pictor, "ingest", folder / "a.jpg") == expected


def test_an_unknown_scheme_an_empty_bucket_and_a_bad_name(pictor: Pictor, folder: Path) -> None:
    assert "scheme 'gs' is unknown" in error_of(pictor, "ingest", "gs://bucket/x")
    assert "no bucket" in error_of(pictor, "ingest", "s3:///x")
    assert "collection name 'a-b'" in error_of(pictor, "ingest", folder, "--collection", "a-b")


def test_no_credentials_for_s3(pictor: Pictor) -> None:
    env = {
        "PICTOR_S3_ENDPOINT": "http://127.0.0.1:9",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": "/nonexistent",
    }
    assert "PICTOR_S3_ACCESS_KEY" in error_of(pictor.within(env), "ingest", "s3://photos")


def test_an_endpoint_where_nobody_listens(pictor: Pictor) -> None:
    env = {
        "PICTOR_S3_ENDPOINT": "http://127.0.0.1:9",
        "PICTOR_S3_ACCESS_KEY": "key",
        "PICTOR_S3_SECRET_KEY": "hush-hush",
        "PICTOR_S3_ATTEMPTS": "2",
    }
    message = error_of(pictor.within(env), "ingest", "s3://photos", code=1)
    assert "http://127.0.0.1:9" in message
    assert "hush-hush" not in message


def test_a_bucket_that_is_not_there_and_a_wrong_secret(pictor: Pictor, s3_server: S3Server) -> None:
    env = {
        "PICTOR_S3_ENDPOINT": s3_server.endpoint,
        "PICTOR_S3_ACCESS_KEY": s3_server.access_key,
        "PICTOR_S3_SECRET_KEY": s3_server.secret_key,
    }
    missing_bucket = error_of(pictor.within(env), "ingest", "s3://no-such-bucket/x")
    assert "no-such-bucket" in missing_bucket
    assert "does not exist" in missing_bucket
    wrong = error_of(pictor.within(env), "ingest", "s3://no-such-bucket/x", PICTOR_S3_SECRET_KEY="hush-hush")
    assert "PICTOR_S3_SECRET_KEY" in wrong
    assert "hush-hush" not in wrong
    assert pictor("jobs", "list", "--json").lines == []  # nothing was started


def test_a_bucket_is_ingested_and_searched(pictor: Pictor, s3_server: S3Server, folder: Path) -> None:
    config = S3Config(
        endpoint=s3_server.endpoint,
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        session_token="",
        region="us-east-1",
        timeout_s=30,
        attempts=4,
    )
    store = S3Store(config)
    store.make_bucket("main-path")
    for number in range(3):
        draw_scene(number).save(folder / "x.jpg")
        store.put("main-path", f"in/{number}.jpg", (folder / "x.jpg").read_bytes())
    env = {
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    assert pictor.within(env)("ingest", "s3://main-path/in/", "--json").last["indexed"] == 3
    (answer,) = pictor.within(env)("search", "s3://main-path/in/2.jpg", "-k", "1", "--json").lines
    assert (answer["hits"][0]["bucket"], answer["hits"][0]["key"]) == ("main-path", "in/2.jpg")


def test_model_files_that_cannot_be_trusted(pictor: Pictor, folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.toml"
    (tmp_path / "w.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00not json")
    base = 'name = "m"\narchitecture = "torchvision/squeezenet1_0"\nweights = "w.safetensors"\n'
    model.write_text(base)
    assert str(tmp_path / "w.safetensors") in error_of(pictor, "ingest", folder, "--model", model)
    model.write_text(base + f'sha256 = "{"0" * 64}"\n')
    mismatch = error_of(pictor, "ingest", folder, "--model", model)
    assert "0" * 64 in mismatch
    assert len(re.findall(r"\b[0-9a-f]{64}\b", mismatch)) == 2  # what was found and what was allowed
    model.write_text(base.replace("w.safetensors", "gone.safetensors"))
    assert "gone.safetensors" in error_of(pictor, "ingest", folder, "--model", model)
    assert "torchvision/resnet5000" in error_of(pictor, "ingest", folder, "--model", "torchvision/resnet5000")


def test_published_weights_without_a_network(pictor: Pictor, folder: Path) -> None:
    # Names of hosts do not resolve through this proxy, as on a machine without internet.
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    message = error_of(pictor, "ingest", folder, "--model", "torchvision/resnet18", code=None, **offline)
    assert "torchvision/resnet18" in message
    assert "resnet18-f37072fd.pth" in message


def test_a_collection_of_another_model(pictor: Pictor, folder: Path, tmp_path: Path) -> None:
    pictor("ingest", folder)
    model = make_model_file(tmp_path, "squeezenet1_1")
    for command, argument in (("ingest", folder), ("search", folder / "a.jpg")):
        message = error_of(pictor, command, argument, "--model", model)
        assert "builtin" in message
        assert "squeezenet1_1" in message
    assert pictor("ingest", folder, "--json").last["unchanged"] == 1  # without --model it keeps its own


def test_an_unreadable_file_costs_itself_alone(tmp_path: Path, folder: Path) -> None:
    draw_scene(2).save(folder / "b.jpg")
    (folder / "b.jpg").chmod(0)
    pictor = Pictor(home=tmp_path / "home", env={}, prefix=WITHOUT_ROOTS_POWER if os.geteuid() == 0 else ())
    counts = pictor("ingest", folder, "--json").last
    assert (counts["indexed"], counts["failed"]) == (1, 1)
    (failure,) = pictor("jobs", "failures", counts["job_id"], "--json").lines
    assert (failure["key"], failure["reason"]) == ("b.jpg", "access_denied")


def test_queries_that_cannot_be_answered(pictor: Pictor, folder: Path) -> None:
    assert "there is none yet" in error_of(pictor, "search", folder / "a.jpg")
    pictor("ingest", folder)
    assert "no image id (32 hex digits) either" in error_of(pictor, "search", "no-such-file.jpg")
    (folder / "bad.jpg").write_bytes(b"no picture")
    ran = pictor("search", folder / "bad.jpg", "0" * 32, folder / "a.jpg", "--json", code=1)
    bad, unknown, good = ran.lines
    assert bad["error"].startswith("not_an_image")
    assert unknown["error"].startswith("not_found")
    assert good["hits"][0]["key"] == "a.jpg"


def test_bad_settings_are_named_and_not_shown(pictor: Pictor) -> None:
    message = error_of(
        pictor, "jobs", "list", PICTOR_BATCH_ITEMS="many", PICTOR_LEDGER_URL="postgresql://u:hush@/"
    )
    assert "PICTOR_BATCH_ITEMS" in message
    assert "hush" not in message


def test_an_unknown_job(pictor: Pictor) -> None:
    for command in ("show", "failures", "retry"):
        assert "no job 'nope'" in error_of(pictor, "jobs", command, "nope")


def test_too_many_failures_end_with_one(pictor: Pictor, folder: Path) -> None:
    (folder / "b.jpg").write_bytes(b"no picture")
    assert pictor("ingest", folder, "--json").last["failed"] == 1  # data, not an error
    pictor("ingest", folder, "--max-failure-rate", "0.4", code=1)


def error_of(pictor: Pictor, *arguments: str | Path, code: int | None = 2, **env: str) -> str:
    """The one line that says what is wrong: never a traceback."""
    ran = pictor(*arguments, code=code, **env)
    assert "Traceback" not in ran.err
    (line,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    return line
