"""Faces by the public path: `python -m benchmarks.faces --model MODEL.toml --pictures FOLDER`.

The folder holds pictures of one person each, and `faces.csv` with the columns `path` and `identity`. A policy
is set, and `pictor ingest` indexes the folder. What comes out of the vectors in the index:

- rank-1: how often the nearest picture that is not the probe itself is of the same person.
- TAR at FAR: the share of pairs of one person over the score that a share FAR of pairs of strangers exceeds.
- images/s of the job, divided by what both networks alone would do on all cores: the computed limit.
- The processor time of both networks alone, divided by that of the job: the same on a machine that is busy.
"""

import argparse
import csv
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import wiring
from pipeline.adapters.models.catalogue import load_embedder, load_finder, load_spec
from pipeline.adapters.models.faces.finder import FaceFinder
from pipeline.adapters.models.faces.looks import make_small, plan_looks
from pipeline.image.decode import decode_image
from pipeline.ports import ImageLimits
from pipeline.settings import Settings

COLLECTION = "faces"
FALSE_RATES = (1e-2, 1e-3, 1e-4)
ROUNDS = 3
COPIES = (1, 6)  # of each picture, for the processor time of an image
POLICY = {"faces": True, "purposes": [{"code": "benchmark", "text": "Benchmark"}], "roles": ["local"]}


def main() -> None:
    options = _parse()
    identities = read_identities(options.pictures)
    with tempfile.TemporaryDirectory() as home:
        command = _Command(Path(home), options.model, options.device)
        policy = Path(home, "policy.json")
        policy.write_text(json.dumps(POLICY), encoding="utf-8")
        command.run("policies", "set", COLLECTION, str(policy))
        started = time.perf_counter()
        command.run("ingest", str(options.pictures), "--collection", COLLECTION, "--local")
        seconds = time.perf_counter() - started
        (job,) = command.run("jobs", "list", "--json")
        vectors = command.vectors()
        cpu_s = _cpu_s_of_an_image(command, options.pictures, Path(home))
    found = {"pictures": len(identities), "faces": len(vectors), "job": job["indexed"]}
    rates = accuracy(vectors, identities)
    print(json.dumps(found | rates | speed(options, identities, job, seconds, cpu_s)))


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


def speed(
    options: argparse.Namespace,
    identities: Mapping[str, str],
    job: Mapping[str, object],
    command_s: float,
    cpu_s: float,
) -> dict[str, float]:
    """The job against both networks alone, each on one thread with what it would be given.

    Args:
        cpu_s: processor time of the job for each image.
    """
    first, last = (np.datetime64(str(job[name])[:26]) for name in ("created_at", "finished_at"))
    job_s = float((last - first) / np.timedelta64(1, "s"))
    detector_s, embedder_s, faces = _networks_s(
        options.model, [options.pictures / key for key in identities], options.device
    )
    limit = (os.cpu_count() or 1) / (detector_s + embedder_s)
    per_s = len(identities) / job_s
    return {
        "images/s of the job": round(per_s, 2),
        "seconds of the command": round(command_s, 2),
        "detector alone, ms an image": round(1000 * detector_s, 2),
        "embedder alone, ms an image": round(1000 * embedder_s, 2),
        "images/s ÷ computed limit": round(per_s / limit, 3),
        "CPU of the job, ms an image": round(1000 * cpu_s, 2),
        "CPU of both networks ÷ CPU of the job": round((detector_s + embedder_s) / cpu_s, 3),
        "faces/s of one core, by CPU": round(faces / len(identities) / cpu_s, 1),
    }


def read_identities(folder: Path) -> dict[str, str]:
    """By key."""
    with (folder / "faces.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["identity"] for row in csv.DictReader(file)}


def _networks_s(model: Path, pictures: Sequence[Path], device: str) -> tuple[float, float, int]:
    """Of an image: processor time of the detector, and of the embedder. Last, the faces of all images."""
    weights_dir = model.parent
    spec = load_spec(str(model), weights_dir=weights_dir)
    finder = load_finder(spec, weights_dir=weights_dir)
    assert isinstance(finder, FaceFinder)
    embedder = load_embedder(str(model), weights_dir=weights_dir, device=device, group_items=8, threads=1)
    looked_at, crops = [], []
    for path in pictures:
        rgb = decode_image(path.read_bytes(), limits=ImageLimits(), target_px=finder.min_side_px).rgb
        settings = finder.settings
        for look in plan_looks(
            rgb.shape[1], rgb.shape[0], side_px=settings.side_px, min_face_px=settings.min_face_px
        ):
            small = make_small(rgb, look.width, look.height)
            looked_at += [small[tile.top : tile.bottom, tile.left : tile.right] for tile in look.tiles]
        crops += [view.pixels for view in finder.find_views(rgb)]
    groups = [np.stack(crops[start : start + 8]) for start in range(0, len(crops), 8)]
    detector = _best_s(lambda: [finder.detector.look(part)() for part in looked_at])
    embedder_s = _best_s(lambda: [embedder.embed_images(group) for group in groups])
    return detector / len(pictures), embedder_s / len(pictures), len(crops)


def _cpu_s_of_an_image(command: "_Command", pictures: Path, folder: Path) -> float:
    """What a job of many pictures takes beyond one of few. So what is done once for each job is left out."""
    found = []
    for copies in COPIES:
        many = folder / f"copies-{copies}"
        count = _copy_pictures(pictures, many, copies)
        before = _children_s()
        command.run("ingest", str(many), "--collection", COLLECTION, "--local")
        found.append((count, _children_s() - before))
    (few, few_s), (most, most_s) = found
    return (most_s - few_s) / (most - few)


def _children_s() -> float:
    """Processor time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _copy_pictures(pictures: Path, folder: Path, copies: int) -> int:
    """JPEGs with the pixels of others and bytes of their own, as known bytes are not embedded again."""
    folder.mkdir()
    bodies = [path.read_bytes() for path in sorted(pictures.rglob("*.jpg"))]
    for number, body in enumerate(bodies * copies):
        comment = f"copy {copies} {number}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (folder / f"{number:06d}.jpg").write_bytes(body[:2] + segment + body[2:])
    return len(bodies) * copies


def _best_s(work: Callable[[], object]) -> float:
    best = math.inf
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


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
    parser.add_argument("--pictures", type=Path, required=True, help="a folder with faces.csv")
    parser.add_argument("--device", default="cpu", help="of the embedder: cpu or cuda:N; default cpu")
    options = parser.parse_args()
    options.model, options.pictures = options.model.resolve(), options.pictures.resolve()
    return options


if __name__ == "__main__":
    main()
