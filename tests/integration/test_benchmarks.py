"""Every script of the benchmark runs and leaves a well-formed result. What it measures is not judged here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Result, read_result
from benchmarks.marks import MARKS
from tests.conftest import REPOSITORY
from tests.sample_data import SHIPPED, large_sets
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, Services

TIMEOUT_S = 600

pytestmark = pytest.mark.bench


def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=dict(os.environ) | env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def quick_result(part: str, folder: Path, *arguments: str, **env: str) -> Result:
    done = run(f"benchmarks.{part}", "--quick", "--results", str(folder), *arguments, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    result = read_result(folder / f"{part}.json")
    assert result.part == part
    assert result.quick
    assert not result.failure
    names = [figure.name for figure in result.figures]
    assert len(set(names)) == len(names)
    assert {mark.figure for mark in MARKS if mark.part == part} <= set(names)
    return result


def measured(result: Result) -> set[str]:
    return {figure.name for figure in result.figures if figure.rounds}


@pytest.fixture
def stack(
    services: Services,
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
) -> str:
    """The folder of a stack that runs all four services."""
    return str(services.stack.directory)


@pytest.fixture
def pictures() -> str:
    """A folder with `photos` in it: the large sets where they are found, else what is shipped."""
    return str(large_sets() or SHIPPED)


@pytest.mark.parametrize("part", ["stages", "search", "service", "scale"])
def test_a_part_measures_all_of_its_figures(part: str, stack: str, pictures: str, tmp_path: Path) -> None:
    result = quick_result(part, tmp_path, "--stack", stack, PICTOR_TEST_DATA=pictures)
    assert measured(result) == {figure.name for figure in result.figures}


def test_decoding_time_is_measured_without_any_server(tmp_path: Path) -> None:
    result = quick_result("decode_time", tmp_path)
    assert measured(result) == {figure.name for figure in result.figures}


def test_backends_are_measured_without_any_server(tmp_path: Path) -> None:
    result = quick_result("backends", tmp_path)
    assert {"resnet18, float32: torch", "resnet18, float32: chosen ÷ torch"} <= measured(result)


def test_the_end_to_end_part_runs_both_ways(stack: str, pictures: str, tmp_path: Path) -> None:
    result = quick_result("end_to_end", tmp_path, "--stack", stack, PICTOR_TEST_DATA=pictures)
    assert measured(result) >= {
        "embedded, float32",
        "distributed, inline",
        "distributed, staged",
        "DataLoader, 1 workers (Pillow)",
        "embedded, float32 ÷ computed limit",
    }


def test_the_folder_is_measured_without_an_earlier_build_too(tmp_path: Path) -> None:
    alone = quick_result("embedded_index", tmp_path)
    ratios = {figure.name for figure in alone.figures if figure.missing}
    assert ratios == {figure.name for figure in alone.figures if figure.name.endswith("÷ earlier build")}


def test_the_gpu_part_runs_without_one(tmp_path: Path) -> None:
    result = quick_result("gpu", tmp_path, "--device", "cpu", "--images", "8", PICTOR_TEST_DATA="/nowhere")
    assert measured(result) >= {"ResNet-50, CPU decode", "ViT-B/16, CPU decode"}
    assert "ResNet-50, CUDA decode" not in measured(result)


def test_the_runner_survives_parts_that_fail_and_says_so(tmp_path: Path) -> None:
    parts = ("stages", "end_to_end")
    done = run("benchmarks", *parts, "--quick", "--results", str(tmp_path), PICTOR_TEST_DATA="/nowhere")
    assert done.returncode == 1
    assert "failed: stages, end_to_end" in done.stdout
    for part in parts:
        assert "no photographs" in read_result(tmp_path / f"{part}.json").failure
    assert "| search | recall@10 against brute force |  |  |  |  | ≥ 0.99 | not measured |" in done.stdout
