"""From runs to figures: the arithmetic of the end-to-end and GPU parts."""

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import end_to_end_figures, gpu_figures
from benchmarks.contestants.clock import Clocked
from benchmarks.figures import Figure
from benchmarks.gpu import face_contestants, repeat_pictures
from benchmarks.gpu_figures import GpuRun
from benchmarks.marks import MARKS
from benchmarks.processes import NO_COMPETITORS, Ran


def ran(rate: float, *, started_s: float = 0.0, process_s: float = 0.0, cpu_s: float = 0.0) -> Ran:
    """A run over 100 images at so many a second once ready; starting took so long before that."""
    seconds = 100 / rate
    clocked = Clocked(images=100, seconds=started_s + seconds, warm_seconds=seconds, cpu_seconds=cpu_s)
    return Ran(clocked=clocked, process_seconds=process_s + started_s + seconds)


RUNS = {
    "forward float32": [ran(50), ran(40)],
    "forward bfloat16": [ran(100), ran(80)],
    "decode": [ran(500, cpu_s=0.2), ran(250, cpu_s=0.4)],
    "loop": [ran(30), ran(30)],
    "loader 1": [ran(35), ran(32)],
    "loader 2": [ran(33), ran(33)],
    "loader fast": [ran(38), ran(38)],
    "ray_data": [ran(25, started_s=6), ran(20, started_s=5)],
    "daft_udf": [ran(30), ran(30)],
    "embedded float32": [ran(45), ran(36)],
    "embedded bfloat16": [ran(90), ran(80)],
    "distributed inline": [ran(40.5), ran(36)],
    "distributed staged": [ran(36), ran(36)],
}


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    found = {figure.name: figure for figure in figures}
    assert len(found) == len(figures)
    return found


def test_the_limit_is_cores_over_core_seconds() -> None:
    # Round 1: 2 ms of decoding and, at 50 images/s on two cores, 40 core-milliseconds of the model.
    assert end_to_end_figures.limits_of(RUNS, 2, "float32") == pytest.approx([2 / 0.042, 2 / 0.054])
    figures = by_name(end_to_end_figures.figures_of(RUNS, cores=2))
    assert figures["embedded, float32 ÷ computed limit"].rounds == pytest.approx(
        (45 / (2 / 0.042), 36 / (2 / 0.054)), rel=1e-5
    )
    assert figures["decode and resize, one core"].rounds == (2.0, 4.0)


def test_the_clocks_are_compared_with_their_like() -> None:
    figures = by_name(end_to_end_figures.figures_of(RUNS, cores=2))
    assert figures["embedded, float32 ÷ Ray Data, once ready"].rounds == (1.8, 1.8)
    assert figures["embedded, float32 ÷ Ray Data, from the call"].rounds == pytest.approx((4.5, 3.6))


def test_the_best_loader_is_the_one_with_the_best_median() -> None:
    figures = by_name(end_to_end_figures.figures_of(RUNS, cores=2))
    assert figures["embedded, float32 ÷ best DataLoader loop"].rounds == pytest.approx(
        (45 / 35, 36 / 32), rel=1e-5
    )


def test_what_was_not_run_is_named_with_its_reason() -> None:
    left = {
        name: runs for name, runs in RUNS.items() if name not in ("ray_data", "embedded bfloat16", "loop")
    }
    figures = by_name(end_to_end_figures.figures_of(left, cores=2))
    assert figures["Ray Data"].missing == NO_COMPETITORS
    assert figures["embedded, float32 ÷ Ray Data, from the call"].missing == NO_COMPETITORS
    assert figures["embedded, bfloat16"].missing == end_to_end_figures.NO_BFLOAT16
    assert figures["embedded, float32 ÷ plain loop"].missing


GPU_RUNS = {
    "decode cpu": [GpuRun(ran=ran(5000), busy_share=None)],
    "decode cuda": [GpuRun(ran=ran(9000), busy_share=0.1)],
    "forward resnet50": [GpuRun(ran=ran(8000), busy_share=1.0)],
    "forward vit_b_16": [GpuRun(ran=ran(3000), busy_share=1.0)],
    "resnet50 cpu": [GpuRun(ran=ran(4500), busy_share=0.6)],
    "resnet50 cuda": [GpuRun(ran=ran(6800), busy_share=0.9)],
    "vit_b_16 cpu": [GpuRun(ran=ran(2700), busy_share=None)],
}


def test_a_gpu_run_is_compared_with_the_slower_of_decoding_and_the_model() -> None:
    figures = by_name(gpu_figures.figures_of(GPU_RUNS))
    assert figures["ResNet-50, CPU decode ÷ slower of decode and forward alone"].rounds == (0.9,)
    assert figures["ResNet-50, better decoder"].rounds == (6800.0,)
    assert figures["ResNet-50, better decoder ÷ slower of decode and forward"].rounds == (0.85,)
    assert figures["ViT-B/16, CUDA decode"].missing == gpu_figures.NO_CUDA_DECODER
    assert figures["ViT-B/16, CPU decode, GPU busy share"].missing == gpu_figures.NO_SAMPLES


def test_a_face_model_is_compared_with_the_slower_of_its_halves_round_by_round() -> None:
    halves = {gpu_figures.FIND: [ran(100), ran(80)], gpu_figures.EMBED: [ran(90), ran(400)]}
    whole = {gpu_figures.WHOLE: [ran(72), ran(72)]}
    runs = {name: [GpuRun(ran=each, busy_share=0.3) for each in of] for name, of in (halves | whole).items()}
    figures = by_name(gpu_figures.figures_of(runs))
    assert figures["Faces, whole way"].rounds == (72.0, 72.0)
    assert figures["Faces, whole way ÷ slower of finding and embedder alone"].rounds == (0.8, 0.9)
    assert figures["Faces, GPU busy share"].rounds == (0.3, 0.3)
    without = by_name(gpu_figures.figures_of(GPU_RUNS))
    assert without["Faces, whole way"].missing == gpu_figures.NO_FACE_MODEL


def test_pictures_are_repeated_until_there_are_enough(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"{number}.jpg").write_bytes(bytes([number]))
    (source / "faces.csv").write_text("path,identity")
    made = repeat_pictures(source, tmp_path / "made", 7)
    assert [path.read_bytes()[0] for path in sorted(made.iterdir())] == [0, 1, 2, 0, 1, 2, 0]
    with pytest.raises(SystemExit, match="no JPEG"):
        repeat_pictures(tmp_path / "made" / "none", tmp_path / "other", 1)


def test_a_face_model_has_three_runs_with_one_setting(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    options = Namespace(
        face_model=tmp_path / "m.toml", face_pictures=tmp_path, images=2, quick=True, index="memory"
    )
    runs = face_contestants(options, "cuda:1", tmp_path / "work")
    assert {*runs} == {gpu_figures.FIND, gpu_figures.EMBED, gpu_figures.WHOLE}
    assert {run.args[3]["PICTOR_DEVICE"] for run in runs.values()} == {"cuda:1"}
    assert [run.args[1].images for run in runs.values()] == [0, 0, 2], "the whole way stores all"
    assert face_contestants(Namespace(face_model=None), "cuda:1", tmp_path) == {}


def test_without_a_gpu_the_same_figures_are_not_measured() -> None:
    absent = gpu_figures.absent_figures(gpu_figures.NO_GPU)
    assert {figure.name for figure in absent} >= {figure.name for figure in gpu_figures.figures_of({})}
    assert {figure.missing for figure in absent} == {gpu_figures.NO_GPU}


@pytest.mark.parametrize("part", ["end_to_end", "gpu"])
def test_every_mark_is_on_a_figure_that_its_part_makes(part: str) -> None:
    made = {
        "end_to_end": end_to_end_figures.figures_of(RUNS, cores=2),
        "gpu": gpu_figures.figures_of(GPU_RUNS),
    }
    assert {mark.figure for mark in MARKS if mark.part == part} <= by_name(made[part]).keys()
