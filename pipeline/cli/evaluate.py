"""`pictor evaluate`: measure how often a model is wrong, on labelled images."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.service.labelled_images import Columns


class Ignored(StrEnum):
    FAILED = "failed"


NOTES = """
A folder has one folder for each person. A CSV file has the columns path and person.
docs/how-to/measure-error-rates.md explains the figures.
"""


def evaluate(
    source: Annotated[
        str, typer.Argument(help="A folder, s3://bucket/prefix or CSV file of labelled images.")
    ] = "",
    model: Annotated[
        str,
        typer.Option(
            help="builtin, torchvision/NAME, timm/NAME, hf/ORG/NAME, a folder or FILE.toml. "
            "Default PICTOR_MODEL, else builtin."
        ),
    ] = "",
    probes: Annotated[str, typer.Option(help="Persons to search for who are not in --gallery.")] = "",
    gallery: Annotated[str, typer.Option(help="Images in which --probes are searched for.")] = "",
    at: Annotated[
        list[float] | None,
        typer.Option(
            help="Measure at this threshold, too. Above 1 it is a similarity and needs --calibration, else a "
            "cosine. You can repeat it."
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="The calibration that says which cosine a similarity is.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Fit a calibration to SOURCE and write it to this file, or into this folder."),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(
            help="Suggest a floor for this share of searches with a false positive.", min=1e-9, max=0.5
        ),
    ] = None,
    gallery_size: Annotated[
        int | None, typer.Option(help="Images in the gallery that --fpir is wanted for.", min=1, max=10**12)
    ] = None,
    person: Annotated[str, typer.Option(help="The column of a CSV file that says who it is.")] = "person",
    subgroup: Annotated[
        list[str] | None,
        typer.Option(help="A column of the CSV file whose values are measured apart. You can repeat it."),
    ] = None,
    not_enrolled: Annotated[
        float,
        typer.Option(
            help="Share of persons who are left out of the gallery, to measure FPIR.", min=0, max=0.9
        ),
    ] = 0.3,
    seed: Annotated[
        int, typer.Option(help="Seed of the random choice and resampling of persons.", min=0)
    ] = 0,
    ignore: Annotated[
        Ignored | None,
        typer.Option(
            help="Leave images that gave no vector out of the searches. Otherwise they count as misses."
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="Your words about the images, for the report.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with plots to this file.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Also write a model card in Markdown to this file.")
    ] = None,
) -> None:
    """Measure how often a model is wrong, on labelled images."""
    from pipeline.cli.evaluate_options import EvaluateOptions

    wanted = EvaluateOptions(
        source=source,
        model=model,
        at=tuple(at or ()),
        calibration=calibration,
        calibrate=calibrate,
        fpir=fpir,
        gallery_size=gallery_size,
        columns=Columns(person=person, subgroups=tuple(subgroup or ())),
        not_enrolled=not_enrolled,
        seed=seed,
        ignore_failed=ignore is Ignored.FAILED,
        description=description,
        as_json=as_json,
        html=html,
        card=card,
    )
    if probes or gallery:
        from pipeline.cli.impostors_here import search_impostors_here

        search_impostors_here(wanted, probes, gallery)
    else:
        from pipeline.cli.evaluate_here import evaluate_here

        evaluate_here(wanted)
