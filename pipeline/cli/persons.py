"""`pictor persons`: who there is in a collection of faces, and which faces are theirs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

import typer

from pipeline.cli.output import counted, note, write_json, write_table
from pipeline.cli.persons_of import open_persons

app = typer.Typer(
    no_args_is_help=True, help="Persons of a collection of faces, and the faces that are theirs."
)

Collection = Annotated[str, typer.Option(help="Collection of faces. Default PICTOR_COLLECTION.")]
PersonId = Annotated[str, typer.Argument(metavar="PERSON", help="The id of the person.")]
Faces = Annotated[list[str], typer.Argument(metavar="FACE", help="The id of a face, as hits have it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_persons(collection: Collection = "", as_json: AsJson = False) -> None:
    """All persons, by id."""
    with open_persons(collection) as persons:
        found = list(persons.list())
    if as_json:
        for person in found:
            write_json(person)
    else:
        write_table(("person", "state", "faces"), [_row(person) for person in found])


@app.command("create")
def create_person(person: PersonId, collection: Collection = "", as_json: AsJson = False) -> None:
    """Make a person without a face. The same person twice is one."""
    with open_persons(collection) as persons:
        _show(persons.create(person), as_json=as_json)


@app.command("show")
def show_person(person: PersonId, collection: Collection = "", as_json: AsJson = False) -> None:
    """One person, and the ids of their faces."""
    with open_persons(collection) as persons:
        _show(persons.show(person), as_json=as_json)


@app.command("delete")
def delete_person(person: PersonId, collection: Collection = "") -> None:
    """Delete a person. The faces stay and are nobody's."""
    with open_persons(collection) as persons:
        persons.delete(person)


@app.command("associate")
def associate(
    person: PersonId,
    faces: Faces,
    collection: Collection = "",
    min_score: Annotated[
        float | None,
        typer.Option(help="Least cosine to the person. Default that of similarity 75.", min=-1, max=1),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say that each FACE is the person's. The first faces of a person are compared with nobody."""
    with open_persons(collection) as persons:
        _tell(persons.associate(person, faces, min_score), as_json=as_json)


@app.command("dissociate")
def dissociate(person: PersonId, faces: Faces, collection: Collection = "", as_json: AsJson = False) -> None:
    """Say that each FACE is not the person's any more. The faces stay in the collection."""
    with open_persons(collection) as persons:
        _tell(persons.dissociate(person, faces), as_json=as_json)


def _tell(found: Mapping[str, object], *, as_json: bool) -> None:
    """Exits with 1 if a face was refused."""
    refused = cast("Sequence[Mapping[str, object]]", found["refused"])
    if as_json:
        write_json(found)
    else:
        person = cast("Mapping[str, object]", found["person"])
        changed, held = cast("Sequence[str]", found["changed"]), cast("Sequence[str]", person["faces"])
        note(f"{counted(len(changed), 'face')} changed; {person['id']} has {len(held)}")
        if refused:
            rows = [(str(each["face"]), str(each["reason"]), str(each.get("person", ""))) for each in refused]
            write_table(("face", "refused", "is of"), rows)
    if refused:
        raise typer.Exit(1)


def _show(person: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        write_json(person)
    else:
        write_table(("person", "state", "faces"), [_row(person)])
        for face in cast("Sequence[str]", person["faces"]):
            note(face)


def _row(person: Mapping[str, object]) -> tuple[str, str, str]:
    faces = cast("Sequence[str]", person["faces"])
    return str(person["id"]), str(person["state"]), str(len(faces))
