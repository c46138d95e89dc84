"""Faces by the public path: `python -m benchmarks.faces --model MODEL.toml --pictures FOLDER`.

The folder holds JPEGs of one person each, and `faces.csv` with the columns `path` and `identity`. A policy
is set, and `pictor ingest` indexes the folder. What comes out of the vectors in the index:

- rank-1: how often the nearest picture that is not the probe itself is of the same person.
- TAR at FAR: the share of pairs of one person over the score that a share FAR of pairs of strangers exceeds.

Without faces.csv, or with `--embedder-like iresnet50`, nobody is recognised, and only speed is measured. That
option makes an embedder of this shape with random weights, which takes the place of the model's own.

Speed is that of two jobs of copies of the pictures, few and many. Each copy has bytes of its own.

- images/s of the job of many, from its creation to its end, and of its further images: those beyond the few.
- The computed limit: images/s of both networks alone, in a process for each core at the same time. A job
  has no more than that. Stated beside it is what one process alone does, times the number of cores, which
  is more where busy cores hold each other up.
- The processor time of both networks, in these processes, divided by that of a further image. Other
  programs on the machine change it little, and images/s much.
"""

import argparse
import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.face_embedders import DEPTHS, DIM, write_embedder
from benchmarks.face_networks import Alone, run_alone
from pipeline import wiring
from pipeline.settings import Settings

COLLECTION = "faces"
FALSE_RATES = (1e-2, 1e-3, 1e-4)
POLICY = {"faces": True, "purposes": [{"code": "benchmark", "text": "Benchmark"}], "roles": ["local"]}


def main() -> None:
    options = _parse()
    identities = read_identities(options.pictures)
    pictures = [options.pictures / key for key in identities] or sorted(options.pictures.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as home:
        model = options.model
        if options.embedder_like:
            model = _with_embedder(options.embedder_like, model, Path(home))
        command = _Command(Path(home), model, options.device)
        policy = Path(home, "policy.json")
        policy.write_text(json.dumps(POLICY), encoding="utf-8")
        command.run("policies", "set", COLLECTION, str(policy))
        found: dict[str, object] = {"pictures": len(pictures)}
        if identities and not options.embedder_like:
            command.run("ingest", str(options.pictures), "--collection", COLLECTION, "--local")
            found |= accuracy(command.vectors(), identities)
        few, many = (
            _run_job(command, pictures, Path(home), copies) for copies in (options.few, options.many)
        )
        one, all_cores = (
            run_alone(model, pictures, options.device, processes=processes)
            for processes in (1, os.cpu_count() or 1)
        )
    print(json.dumps(found | speed(few, many, one, all_cores, pictures=len(pictures)), ensure_ascii=False))


def accuracy(
    vectors: Mapping[str, tuple[str, NDArray[np.float32]]], identities: Mapping[str, str]
) -> dict[str, float]:
    """Args: `vectors` by row: the key and the vector."""
    keys = [key for key, _ in vectors.values()]
    rows = np.stack([vector for _, vector in vectors.values()])
    who = np.array([identities[key] for key in keys])
    every = rows @ rows.T - 2 * np.eye(len(rows))  # nobody is the nearest to himself
    right = who[every.argmax(axis=1)] == who
    pairs = np.triu_indices(len(rows), 1)
    scores, same = every[pairs], (who[:, None] == who)[pairs]
    strangers = np.sort(scores[~same])[::-1]
    rates = {
        f"TAR at FAR {rate:g}": float((scores[same] > strangers[int(rate * len(strangers))]).mean())
        for rate in FALSE_RATES
    }
    return {"rank-1": float(np.mean(right)), **rates}


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTime:
    images: int
    wall_s: float
    cpu_s: float


def speed(few: JobTime, many: JobTime, one: Alone, all_cores: Alone, *, pictures: int) -> dict[str, float]:
    """Two jobs against both networks alone. Args: `one` process, and as many as there are cores."""
    images = many.images - few.images
    wall_s, cpu_s = (many.wall_s - few.wall_s) / images, (many.cpu_s - few.cpu_s) / images
    limit, faces = all_cores.images_per_s, all_cores.faces / pictures
    return {
        "images of the job": many.images,
        "images/s of the job": round(many.images / many.wall_s, 1),
        "images/s of further images": round(1 / wall_s, 1),
        "faces/s of further images": round(faces / wall_s, 1),
        "faces/s of one core, by CPU": round(faces / cpu_s, 1),
        "detector alone, ms an image": round(1000 * all_cores.detector_cpu_s, 2),
        "embedder alone, ms an image": round(1000 * all_cores.embedder_cpu_s, 2),
        "both alone in one process, ms an image": round(1000 * one.cpu_s, 2),
        "computed limit, images/s": round(limit, 1),
        "one process alone × cores, images/s": round(one.images_per_s * (os.cpu_count() or 1), 1),
        "images/s of the job ÷ computed limit": round(many.images / many.wall_s / limit, 3),
        "images/s of further images ÷ computed limit": round(1 / wall_s / limit, 3),
        "CPU of a further image, ms": round(1000 * cpu_s, 2),
        "CPU of both networks ÷ CPU of a further image": round(all_cores.cpu_s / cpu_s, 3),
    }


def read_identities(folder: Path) -> dict[str, str]:
    """By key. None where the folder does not tell."""
    if not (folder / "faces.csv").exists():
        return {}
    with (folder / "faces.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["identity"] for row in csv.DictReader(file)}


def _run_job(command: "_Command", pictures: Sequence[Path], folder: Path, copies: int) -> JobTime:
    many = folder / f"copies-{copies}"
    images = _copy_pictures(pictures, many, copies)
    before, earlier = _children_s(), {str(job["job_id"]) for job in command.run("jobs", "list", "--json")}
    command.run("ingest", str(many), "--collection", COLLECTION, "--local")
    cpu_s = _children_s() - before
    (job,) = [job for job in command.run("jobs", "list", "--json") if job["job_id"] not in earlier]
    first, last = (np.datetime64(str(job[name])[:26]) for name in ("created_at", "finished_at"))
    assert job["indexed"] == images, f"{job['indexed']} of {images} images were indexed"
    return JobTime(images=images, wall_s=float((last - first) / np.timedelta64(1, "s")), cpu_s=cpu_s)


def _children_s() -> float:
    """Processor time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _copy_pictures(pictures: Sequence[Path], folder: Path, copies: int) -> int:
    """JPEGs with the pixels of others and bytes of their own, as known bytes are not embedded again."""
    folder.mkdir()
    bodies = [path.read_bytes() for path in pictures]
    for number, body in enumerate(bodies * copies):
        comment = f"copy {copies} {number}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (folder / f"{number:06d}.jpg").write_bytes(body[:2] + segment + body[2:])
    return len(bodies) * copies


def _with_embedder(name: str, model: Path, folder: Path) -> Path:
    """The model file with another embedder, whose weights are made here."""
    weights = folder / f"{name}.onnx"
    write_embedder(name, weights)
    text = model.read_text(encoding="utf-8")
    before, _, _ = text.partition("[embedder]")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    made = folder / f"{name}.toml"
    made.write_text(
        f'{before}[embedder]\nweights = "{weights}"\nsha256 = "{digest}"\ndim = {DIM}\n', encoding="utf-8"
    )
    return made


class _Command:
    """`pictor` with a home of its own."""

    def __init__(self, home: Path, model: Path, device: str) -> None:
        self._home = home / "home"
        self._env = dict(os.environ) | {"PICTOR_HOME": str(self._home), "PICTOR_MODEL": str(model)}
        self._env["PICTOR_DEVICE"] = device

    def run(self, *arguments: str) -> list[dict[str, object]]:
        """The JSON objects that it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            env=self._env,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def vectors(self) -> dict[str, tuple[str, NDArray[np.float32]]]:
        """The key and the vector of each row."""
        with wiring.open_index(Settings(home=self._home)) as index:
            ref = index.live(COLLECTION)
            images = [image.ref.image_id for image in index.list_images(ref)]
            rows = [row for found in index.get_images(ref, images).values() for row in found]
        return {row.id: (row.ref.key, row.vector) for row in rows}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faces", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model file (.toml)")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of JPEGs, with faces.csv")
    parser.add_argument("--embedder-like", choices=DEPTHS, help="measure an embedder of this shape")
    parser.add_argument("--few", type=int, default=1, help="copies of each picture in the first job")
    parser.add_argument("--many", type=int, default=12, help="copies of each picture in the second job")
    parser.add_argument("--device", default="cpu", help="of the embedder: cpu or cuda:N; default cpu")
    options = parser.parse_args()
    options.model, options.pictures = options.model.resolve(), options.pictures.resolve()
    return options


if __name__ == "__main__":
    main()
