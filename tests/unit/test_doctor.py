"""What `pictor doctor` says of the room on disks and in memory."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.capacity import Load
from pipeline.cgroup import Share
from pipeline.cli.doctor import Finding, describe_memory, describe_server, examine
from pipeline.errors import PictorError
from pipeline.settings import Settings
from pipeline.wiring import load_model_spec, load_of_model
from tests.face_models import write_face_model
from tests.onnx_models import network, write_onnx_model

SERVER = "http://milvus:19530"
MB, GB = 2**20, 2**30


def find(component: str, settings: Settings) -> Finding:
    """Components are examined one by one: what comes later is not asked."""
    return next(finding for finding in examine(settings) if finding.component == component)


@pytest.mark.parametrize(
    ("milvus_uri", "free_bytes", "ok", "found"),
    [
        ("", 3 * GB, True, "3.0 GiB free"),
        ("", 1 * GB, False, "1.0 GiB free, 2.0 GiB are wanted"),
        (SERVER, 1 * GB, True, "1.0 GiB free"),
        (SERVER, 100 * MB, True, "100 MiB free"),
        (SERVER, 50 * MB, False, "50 MiB free, 64 MiB are wanted"),
        ("/elsewhere/milvus.db", 100 * MB, True, "100 MiB free"),
    ],
)
def test_home_needs_much_room_where_it_holds_the_index_and_little_elsewhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    milvus_uri: str,
    free_bytes: int,
    ok: bool,
    found: str,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))
    finding = find("home", Settings(home=tmp_path / "home", milvus_uri=milvus_uri))
    assert (finding.ok, found in finding.found, bool(finding.remedy)) == (ok, True, not ok)


def test_an_index_in_another_place_needs_its_room_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes = {tmp_path / "home": GB, tmp_path: 100 * MB}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free_bytes[folder]))
    settings = Settings(home=tmp_path / "home", milvus_uri=str(tmp_path / "milvus.db"))
    assert find("home", settings).ok
    finding = find("index", settings)
    assert (finding.ok, finding.found) == (False, f"{tmp_path}: 100 MiB free, 2.0 GiB are wanted")


def test_memory_is_named_with_the_threads_that_fit_into_it() -> None:
    said = describe_memory(Settings(), Share(cores=32, memory_bytes=GB), Load())
    assert said == "1.0 GiB for 32 cores: 1 fetch threads, 1 decode threads a batch"


def test_memory_that_is_too_small_for_one_image_is_refused() -> None:
    with pytest.raises(PictorError, match="512 MiB for 32 cores; 928 MiB are wanted"):
        describe_memory(Settings(), Share(cores=32, memory_bytes=512 * MB), Load())


def test_the_detector_of_the_model_takes_its_part_of_the_memory(tmp_path: Path) -> None:
    settings = Settings(model=str(write_face_model(tmp_path)), model_dir=tmp_path, home=tmp_path / "home")
    share = Share(cores=32, memory_bytes=4 * GB)
    plain = describe_memory(settings, share, Load())
    with_detector = describe_memory(settings, share, load_of_model(load_model_spec(settings.model, settings)))
    assert decode_threads(with_detector) < decode_threads(plain)


def test_a_model_that_cannot_be_read_takes_no_memory_and_is_named_by_its_own_check(
    tmp_path: Path, home: Path
) -> None:
    settings = Settings(model=str(tmp_path / "missing.toml"), home=home)
    assert find("memory", settings) == find("memory", Settings(home=home))
    assert "missing.toml" in find("model", settings).found


def test_the_model_is_read_once_for_all_checks(tmp_path: Path, home: Path) -> None:
    model = write_face_model(tmp_path)
    findings = examine(Settings(model=str(model), model_dir=tmp_path, home=home, device="cpu"))
    assert next(finding for finding in findings if finding.component == "memory").ok
    networks = list(tmp_path.glob("*.onnx"))
    assert networks
    for network_file in networks:
        network_file.unlink()
    found = {finding.component: finding for finding in findings}
    assert found["model"].ok
    assert found["backend"].ok


def decode_threads(said: str) -> int:
    return int(said.split(", ")[-1].split()[0])


def test_the_memory_of_this_machine_is_examined() -> None:
    assert "decode threads" in find("memory", Settings()).found


@pytest.mark.parametrize(
    ("url", "secure", "found"),
    [
        ("amqps://me:hunter2@mq.example:5671/shop?token=hunter3", "amqps", "mq.example:5671/shop?***, TLS"),
        ("amqp://me:hunter2@mq.example/shop", "amqps", "mq.example/shop, no TLS"),
        ("https://me:hunter2@milvus.example:19530", "https", "milvus.example:19530, TLS"),
        ("http://milvus.example:19530", "https", "milvus.example:19530, no TLS"),
    ],
)
def test_a_server_is_shown_without_its_secrets_and_with_its_tls(url: str, secure: str, found: str) -> None:
    shown = describe_server(url, secure=secure)
    assert shown.endswith(found)
    assert not any(secret in shown for secret in ("me:", "hunter2", "hunter3"))


def test_without_a_broker_there_is_nothing_to_examine(home: Path) -> None:
    assert find("broker", Settings.from_env()).found == "none; a job runs in the process that starts it"


@pytest.mark.parametrize(
    ("settings", "ok", "found"),
    [
        ({}, True, "torch, as always for the builtin model"),
        ({"model": "torchvision/resnet18", "backend": "torch"}, True, "torch, by PICTOR_BACKEND"),
    ],
)
def test_the_backend_is_named_with_the_reason(
    tmp_path: Path, settings: dict[str, str], ok: bool, found: str
) -> None:
    finding = find("backend", Settings.model_validate({"home": tmp_path, "device": "cpu", **settings}))
    assert (finding.ok, finding.found) == (ok, found)


def _write_onnx_model(folder: Path) -> Path:
    return write_onnx_model(folder, network())


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
@pytest.mark.parametrize("write", [write_face_model, _write_onnx_model])
def test_models_in_onnx_files_are_run_by_onnx_runtime_whatever_is_asked_for(
    tmp_path: Path, backend: str, write: Callable[[Path], Path]
) -> None:
    settings = {"home": tmp_path, "device": "cpu", "model": str(write(tmp_path)), "backend": backend}
    finding = find("backend", Settings.model_validate(settings))
    assert (finding.ok, finding.found) == (True, "onnxruntime, as always for models in ONNX files")
