"""`pictor faces`: find the faces of pictures, and compare two pictures."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, cast

import typer

from pipeline.cli.output import counted, fail, note, write_json, write_table
from pipeline.cli.running_service import find_service
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_output import say_what_is_due
from pipeline.cli.stated_options import Authorisation, Authority, Case, Offence

app = typer.Typer(no_args_is_help=True, help="Find the faces of pictures, and compare two pictures.")

Collection = Annotated[
    str, typer.Option(help="Collection of faces whose model is asked. Default PICTOR_COLLECTION.")
]


@app.command("detect")
def detect(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="An image file.")],
    collection: Collection = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per FILE and line.")] = False,
) -> None:
    """Find the faces of each FILE. Nobody is looked for, and nothing is recorded."""
    if (service := find_service()) is not None:
        from pipeline.cli.faces_there import detect_there

        found = detect_there(files, collection, service)
    else:
        from pipeline.cli.faces_here import detect_here

        found = detect_here(files, collection)
    is_whole = True
    for answer in found:
        is_whole &= "error" not in answer
        _print_faces(answer, as_json=as_json)
    if not is_whole:
        raise typer.Exit(1)


@app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="An image file. Its largest face is compared.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="An image file. All its faces are compared.")],
    collection: Annotated[
        str,
        typer.Option(help="Collection of faces whose model and policy are asked. Default PICTOR_COLLECTION."),
    ] = "",
    min_score: Annotated[
        float | None, typer.Option(help="Leave out scores below this cosine.", min=-1, max=1)
    ] = None,
    purpose: Annotated[str, typer.Option(help="What the comparison is for, a code of the policy.")] = "",
    case: Case = "",
    offence: Offence = "",
    authorisation: Authorisation = "",
    authority: Authority = "",
    on_behalf_of: Annotated[str, typer.Option(help="The person on whose behalf you compare.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the largest face of A with all faces of B. It is recorded like a search of the collection."""
    wanted = SearchOptions(
        collection=collection,
        min_score=min_score,
        purpose=purpose,
        case=case,
        offence=offence,
        authorisation=authorisation,
        authority=authority,
        on_behalf_of=on_behalf_of,
    )
    if (service := find_service()) is not None:
        from pipeline.cli.faces_there import compare_there

        found = compare_there(first, second, wanted, service)
    else:
        from pipeline.cli.faces_here import compare_here

        found = compare_here(first, second, wanted)
    _print_comparison(found, as_json=as_json)


def _print_faces(answer: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        write_json(answer)
    elif "error" in answer:
        fail(f"{answer['picture']}: {answer['error']}")
    else:
        faces = cast("list[Mapping[str, object]]", answer["faces"])
        note(f"{answer['picture']}: {counted(len(faces), 'face')}")
        numbers = ("confidence", "eyes_px", "sharpness", "brightness", "turn")
        rows = [(_place(face["box"]), *(f"{face[name]:.2f}" for name in numbers)) for face in faces]
        write_table(("face", "confidence", "eyes px", "sharpness", "brightness", "turn"), rows)


def _print_comparison(found: Mapping[str, object], *, as_json: bool) -> None:
    matches = cast("list[Mapping[str, object]]", found["matches"])
    if as_json:
        write_json(found)
    else:
        unmatched = cast("Iterable[object]", found["unmatched"])
        note(f"face at {_place(found['face'])} px of the first picture")
        rows = [(f"{match['score']:.4f}", _place(match["box"])) for match in matches]
        write_table(
            ("score", "face of the second picture"), [*rows, *(("", _place(box)) for box in unmatched)]
        )
    say_what_is_due([{**found, "hits": matches}])


def _place(box: object) -> str:
    sides = cast("Mapping[str, int]", box)
    return f"{sides['left']},{sides['top']} of {sides['width']}x{sides['height']}"
