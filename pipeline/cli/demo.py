"""`pictor demo`: index and search a generated gallery or your own pictures, and measure the result."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.output import note, write_line, write_table
from pipeline.errors import ArgumentError, PictorError

SCENES = 60  # with six edited copies each: 420 pictures, a quarter of a minute on two cores
SAMPLE = 40  # of the user's own pictures that get edited copies
SHOWN = 12  # queries on the page
MARKER = ".pictor-demo"  # only a folder that carries it is deleted


def demo(
    images: Annotated[
        Path | None, typer.Option(help="Your own pictures instead of a generated gallery.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the gallery, the index and the page.")] = Path(
        "demo-output"
    ),
) -> None:
    """Make a gallery, index it, search it and measure the hits. Needs no server and no network."""
    _empty_folder(out)
    originals, origin, broken = _make_gallery(out, images)
    sources = [images or out / "gallery" / "originals", out / "gallery" / "copies"]
    sources += [out / "gallery" / "broken"] if broken else []
    for source in sources:
        counts = _ingest(source, out)
        write_line(
            f"  {counts['indexed']} indexed, {counts['failed']} failed, {counts['images_per_s']} images/s"
        )
        _print_failures(str(counts["job_id"]), out)
    answers = _search(originals, out, copies=len(origin) // max(1, len(originals)))
    _print_recall(answers, origin)
    page = _write_page(originals[:: max(1, len(originals) // SHOWN)][:SHOWN], out)
    note(f"\nLook at what was found: {page}")


def _empty_folder(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise ArgumentError(f"--out {out}: the folder is not empty and was not made by the demo")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _make_gallery(out: Path, images: Path | None) -> tuple[list[Path], dict[str, str], int]:
    """Returns the originals, the name of each copy's original, and how many broken files there are."""
    from pipeline.demo import gallery, pictures

    folder = out / "gallery"
    if images is None:
        note(f"Drawing {SCENES} pictures, {len(gallery.EDITS)} edited copies of each and some broken files")
        originals = gallery.write_originals(folder / "originals", SCENES)
        broken = gallery.write_broken(folder / "broken")
    else:
        originals, broken = pictures.sample(images, SAMPLE), 0
        note(f"Making {len(gallery.EDITS)} edited copies of {len(originals)} of your pictures")
    opened = {path.name: pictures.open_upright(path) for path in originals}
    return originals, gallery.write_edits(folder / "copies", opened), broken


def _ingest(source: Path, out: Path) -> Mapping[str, object]:
    lines = _pictor(["ingest", str(source), "--json"], out)
    return json.loads(lines[-1])  # type: ignore[no-any-return]  # our own command's last line


def _print_failures(job_id: str, out: Path) -> None:
    failures = [json.loads(line) for line in _pictor(["jobs", "failures", job_id, "--json"], out, quiet=True)]
    if failures:
        rows = [(f["key"], f["reason"], f["detail"]) for f in failures[:20]]
        write_table(("file", "reason", "detail"), rows)
    if len(failures) > len(rows := failures[:20]):
        reasons = Counter(failure["reason"] for failure in failures)
        write_line(f"  {len(failures) - len(rows)} more; all by reason: {dict(reasons)}")


def _search(originals: Sequence[Path], out: Path, *, copies: int) -> list[Mapping[str, object]]:
    queries = [str(path) for path in originals]
    lines = _pictor(["search", *queries, "-k", str(copies + 1), "--json"], out, shown="search <originals>")
    return [json.loads(line) for line in lines]


def _print_recall(answers: Sequence[Mapping[str, object]], origin: Mapping[str, str]) -> None:
    """For each edit: the share of copies among the first 1 + 6 hits of their original (itself is one)."""
    found: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    first = 0
    for answer in answers:
        name = Path(str(answer["query"])).name
        keys = [hit["key"] for hit in answer["hits"]]  # type: ignore[attr-defined]
        first += bool(keys) and Path(keys[0]).name == name
        for copy, of in origin.items():
            if of == name:
                edit = copy.rsplit("--", 1)[-1].removesuffix(".jpg")
                total[edit] += 1
                found[edit] += copy in keys
    everything = sum(total.values())
    write_table(
        ("edited copies", "found", "of", "recall"),
        [(edit, found[edit], count, f"{found[edit] / count:.3f}") for edit, count in total.items()]
        + [("all", sum(found.values()), everything, f"{sum(found.values()) / everything:.3f}")],
    )
    write_line(f"{first} of {len(answers)} pictures find themselves first")


def _write_page(queries: Sequence[Path], out: Path) -> Path:
    page = out / "results.html"
    arguments = ["search", *(str(query) for query in queries), "-k", "7", "--html", str(page)]
    _pictor(arguments, out, quiet=True)
    return page.resolve()


def _pictor(arguments: Sequence[str], out: Path, *, quiet: bool = False, shown: str = "") -> list[str]:
    """Run the command line as a user would, with the demo's own home."""
    if not quiet:
        note(f"\n$ pictor {shown or ' '.join(arguments)}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PICTOR_")}
    environment["PICTOR_HOME"] = str((out / "home").resolve())
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PictorError(f"pictor {arguments[0]} ended with {done.returncode}")
    return done.stdout.splitlines()
