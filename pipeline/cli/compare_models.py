"""Embed the same images with two models, and say how far the vectors are apart."""

import tempfile
from dataclasses import asdict
from pathlib import Path

from pipeline.cli.evaluate_here import OpenModel, open_model
from pipeline.cli.output import note, write_json, write_table
from pipeline.errors import ArgumentError
from pipeline.evaluation.agreement import SAME, Agreement, agreement_of
from pipeline.service.labelled_images import Columns, read_source

DRAWN = 24  # pictures that are drawn where no images are given


def compare_models_here(first: str, second: str, images: str, *, as_json: bool) -> None:
    """Raises ArgumentError: their vectors cannot be compared."""
    models = open_model(first), open_model(second)
    dims = [model.spec.dim for model in models]
    if dims[0] != dims[1]:  # said before any image is read
        raise ArgumentError(
            f"{first} gives {dims[0]} numbers and {second} {dims[1]}; their vectors cannot be compared"
        )
    _show(_agree(models, images) if images else _agree_on_drawn(models), models, as_json=as_json)


def _agree_on_drawn(models: tuple[OpenModel, OpenModel]) -> Agreement:
    from pipeline.demo.gallery import write_originals

    with tempfile.TemporaryDirectory(prefix="pictor-compare-") as folder:
        write_originals(Path(folder), DRAWN)
        return _agree(models, folder)


def _agree(models: tuple[OpenModel, OpenModel], images: str) -> Agreement:
    first, second = models
    source = read_source(images, first.ports.store, Columns(), alone_is_a_person=True)
    return agreement_of(first.embed(source).labelled, second.embed(source).labelled)


def _show(found: Agreement, models: tuple[OpenModel, OpenModel], *, as_json: bool) -> None:
    fingerprints = [model.spec.fingerprint for model in models]
    if as_json:
        write_json(asdict(found) | {"is_same": found.is_same, "fingerprints": fingerprints})
        return
    write_table(
        ("images", "least cosine", "mean cosine", "image of the least"),
        [(found.images, f"{found.least:.6f}", f"{found.mean:.6f}", found.worst)],
    )
    if fingerprints[0] == fingerprints[1]:
        note("They are one model: their fingerprints are equal.")
    elif found.is_same:
        note(f"They agree: no cosine is under {SAME}. They stay two models, as their fingerprints differ.")
    else:
        note(f"They do not agree: a cosine is under {SAME}.")
