"""The whole way on a CUDA machine: `python -m benchmarks.gpu`. Needs no network, no server and no data.

Pictures of about 500x375 are drawn into a folder; they are decoded on the CPU or on the device, embedded
with ResNet-50 and ViT-B/16 in bfloat16, and written to an index in the same process. Against the forward pass
alone and decoding alone. `--device cpu --images 64` shows without a GPU that it works.

With `--face-model MODEL.toml --face-pictures FOLDER`, a face model takes the same way with the pictures of a
folder, against finding alone and the embedder alone. The detector always runs on the CPU.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks import gpu_figures
from benchmarks.figures import Measured
from benchmarks.gpu_busy import watched_gpu
from benchmarks.gpu_figures import ARCHITECTURES, DECODERS, GpuRun, key_of
from benchmarks.model_file import make_model_file
from benchmarks.part import parser_of, run_part, tell
from benchmarks.photographs import draw_jpeg
from benchmarks.processes import Task, run_contestant
from benchmarks.rounds import interleave
from pipeline.settings import Settings

PICTURE_PX = (500, 375)
DRAWN = 512  # pictures that differ; the others are the same bytes under other names, as large and as costly
FACE_IMAGES = 4_000  # a detector takes milliseconds of a core for each
IMAGES, QUICK_IMAGES = 40_000, 8  # seven seconds at the rate that is asked for
ROUNDS, QUICK_ROUNDS = 2, 1
GROUP_ITEMS, CPU_GROUP_ITEMS = 256, 8  # a GPU of this class is not filled by fewer
FORWARD_GROUPS, CPU_FORWARD_GROUPS = 100, 1
PRECISION = "bfloat16"


def main() -> None:
    parser = parser_of("gpu", __doc__ or "")
    parser.add_argument(
        "--device", default="auto", help="cuda:N, or cpu for a smoke test; default: the first GPU"
    )
    parser.add_argument("--images", type=int, help=f"default {IMAGES}")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument(
        "--index", choices=("memory", "milvus"), default="memory", help="milvus: Milvus Lite, where installed"
    )
    parser.add_argument("--face-model", type=Path, help="the model file of a face model (.toml)")
    parser.add_argument("--face-pictures", type=Path, help="a folder of JPEGs with faces")
    options = parser.parse_args()
    if (options.face_model is None) != (options.face_pictures is None):
        parser.error("--face-model and --face-pictures are given together or not at all")
    if options.device == "cpu":
        options.quick = True  # no figure of a GPU comes from this
    run_part("gpu", options, measure)


def measure(options: argparse.Namespace) -> Measured:
    device = _pick_device(options.device, quick=options.quick)
    if device is None:
        return Measured(figures=gpu_figures.absent_figures(gpu_figures.NO_GPU))
    images = options.images or (QUICK_IMAGES if options.quick else IMAGES)
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as name:
        folder = Path(name)
        photos = draw_pictures(folder / "photos", images)
        tell(f"  {images} pictures are drawn")
        tasks = {
            architecture: Task(photos=photos, model_file=make_model_file(folder, architecture), images=images)
            for architecture in ARCHITECTURES
        }
        runs = interleave(
            _contestants(tasks, device, options.index) | face_contestants(options, device, folder),
            options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            tell,
            lambda run: f"{run.ran.warm_rate:.1f} images/s",
        )
    return Measured(figures=gpu_figures.figures_of(runs), notes=_notes(images, device, options.index))


def draw_pictures(folder: Path, count: int) -> Path:
    """`count` JPEGs in a folder, on all cores."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        bodies = list(pool.map(partial(draw_jpeg, *PICTURE_PX), range(min(count, DRAWN)), chunksize=8))
    for number in range(count):
        file = folder / f"{number:06d}.jpg"
        if number < len(bodies):
            file.write_bytes(bodies[number])
        else:
            _link(folder / f"{number % len(bodies):06d}.jpg", file)
    return folder


def _link(source: Path, target: Path) -> None:
    with suppress(OSError):
        os.link(source, target)  # no copy: forty thousand of them would be four gigabytes
        return
    shutil.copy(source, target)


def _pick_device(wanted: str, *, quick: bool) -> str | None:
    """None: there is no GPU, and nobody asked for less."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda:0"
    return "cpu" if quick else None


def _contestants(tasks: Mapping[str, Task], device: str, index: str) -> dict[str, partial[GpuRun]]:
    on_gpu = device.startswith("cuda")
    decoders = [
        name for name in DECODERS if name == "cpu" or (on_gpu and "jpeg_decoder" in Settings.model_fields)
    ]
    any_task = next(iter(tasks.values()))
    threads = str(len(os.sched_getaffinity(0)))
    found = {"decode cpu": partial(_run, "decode", any_task, ["--threads", threads])}
    if on_gpu:
        found["decode cuda"] = partial(_run, "decode", any_task, ["--device", device])
    for architecture, task in tasks.items():
        found[f"forward {architecture}"] = partial(_forward, task, device)
        for decoder in decoders:
            env = {
                "PICTOR_DEVICE": device,
                "PICTOR_PRECISION": PRECISION,
                "PICTOR_JPEG_DECODER": decoder,
                "PICTOR_GROUP_ITEMS": str(GROUP_ITEMS if on_gpu else CPU_GROUP_ITEMS),
            }
            if decoder == "cuda":  # threads that wait for the GPU, as many as make a batch worth its start
                env |= {"PICTOR_FETCH_THREADS": "32", "PICTOR_DECODE_THREADS": "64"}
            found[key_of(architecture, decoder)] = partial(_run, "embedded", task, ["--index", index], env)
    return found


def face_contestants(options: argparse.Namespace, device: str, folder: Path) -> dict[str, partial[GpuRun]]:
    """None without a face model. Args: `folder` for the pictures, as many as were asked for."""
    if options.face_model is None:
        return {}
    wanted = options.images or (QUICK_IMAGES if options.quick else FACE_IMAGES)
    photos = repeat_pictures(options.face_pictures.resolve(), folder / "faces", wanted)
    task = Task(photos=photos, model_file=options.face_model.resolve())
    env = {
        "PICTOR_DEVICE": device,
        "PICTOR_GROUP_ITEMS": str(GROUP_ITEMS if device.startswith("cuda") else CPU_GROUP_ITEMS),
    }
    threads = ["--threads", str(len(os.sched_getaffinity(0)))]
    return {
        gpu_figures.FIND: partial(_run, "faces", task, ["--half", "find", *threads], env),
        gpu_figures.EMBED: partial(_run, "faces", task, ["--half", "embed", *threads], env),
        gpu_figures.WHOLE: partial(
            _run, "embedded", replace(task, images=wanted), ["--index", options.index], env
        ),
    }


def repeat_pictures(source: Path, folder: Path, count: int) -> Path:
    """`count` files in a folder: the JPEGs of another, again and again under other names.

    Raises:
        SystemExit: there are none.
    """
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise SystemExit(f"{source} has no JPEG")
    folder.mkdir(parents=True)
    for number in range(count):
        _link(found[number % len(found)], folder / f"{number:06d}.jpg")
    return folder


def _forward(task: Task, device: str) -> GpuRun:
    on_gpu = device.startswith("cuda")
    groups, items = (FORWARD_GROUPS, GROUP_ITEMS) if on_gpu else (CPU_FORWARD_GROUPS, CPU_GROUP_ITEMS)
    sizes = ["--groups", str(groups), "--group-items", str(items)]
    unchecked = Task(photos=task.photos, model_file=task.model_file)
    return _run("forward", unchecked, ["--device", device, "--precision", PRECISION, *sizes])


def _run(program: str, task: Task, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> GpuRun:
    with watched_gpu() as samples:
        ran = run_contestant(program, task, *arguments, env=env)
    ended = ran.clocked.ended
    return GpuRun(ran=ran, busy_share=samples.share_between(ended - ran.clocked.warm_seconds, ended))


def _notes(images: int, device: str, index: str) -> list[str]:
    return [
        f"{images} drawn JPEGs of {PICTURE_PX[0]}x{PICTURE_PX[1]} from a local folder (page cache), "
        f"{PRECISION}, groups of {GROUP_ITEMS if device != 'cpu' else CPU_GROUP_ITEMS}, vectors written to "
        f"the {'memory index' if index == 'memory' else 'Milvus Lite'} of the same process.",
        "GPU busy share: time in which a kernel ran, as nvidia-smi samples it, while images were embedded.",
    ]


if __name__ == "__main__":
    main()
