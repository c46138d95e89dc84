"""Operations on the persons of a collection of faces. `search` with `group_by="person"` looks for them."""

from collections.abc import Sequence
from functools import partial

from pipeline.client.calls import JSON_HEADERS, Call, Fields, Pages, json_body, nothing, quoted
from pipeline.client.requests import collection_path, page_of
from pipeline.client.results import FacesChanged, Person, reader_of


def list_persons(collection: str, *, page_items: int = 100) -> Pages[Person]:
    """By id. Args: `page_items`, 1..500, are asked for at once."""
    return Pages(call=partial(page_of, _path(collection), "persons", Person, page_items))


def create_person(collection: str, person_id: str) -> Call[Person]:
    """A person without a face. The same call twice makes one."""
    return Call(method="PUT", path=_path(collection, person_id), read=reader_of(Person))


def show_person(collection: str, person_id: str) -> Call[Person]:
    """One person. Raises NotFoundError."""
    return Call(method="GET", path=_path(collection, person_id), read=reader_of(Person))


def delete_person(collection: str, person_id: str) -> Call[None]:
    """The faces stay in the collection and are nobody's. Raises NotFoundError."""
    # Not repeatable: another may have made one of the same id since.
    return Call(method="DELETE", path=_path(collection, person_id), read=nothing, is_repeatable=False)


def associate_faces(
    collection: str, person_id: str, faces: Sequence[str], *, min_score: float | None = None
) -> Call[FacesChanged]:
    """Say that faces are a person's. The first faces of a person are compared with nobody.

    Args:
        faces: 1 to 100 ids, as hits and images have them.
        min_score: cosine to the mean of the faces that the person has. None: that of similarity 75.

    Raises:
        NotFoundError: no such collection or person.
        ConflictError: the person would have more than 100 faces. Nothing was changed.
    """
    return _change(f"{_path(collection, person_id)}/faces", {"faces": list(faces), "min_score": min_score})


def dissociate_faces(collection: str, person_id: str, faces: Sequence[str]) -> Call[FacesChanged]:
    """Say that faces are not a person's any more. They stay in the collection. Raises NotFoundError."""
    return _change(f"{_path(collection, person_id)}/faces/remove", {"faces": list(faces)})


def _change(path: str, fields: Fields) -> Call[FacesChanged]:
    return Call(
        method="POST", path=path, headers=JSON_HEADERS, body=json_body(fields), read=reader_of(FacesChanged)
    )


def _path(collection: str, person_id: str = "") -> str:
    of_all = f"{collection_path(collection)}/persons"
    return f"{of_all}/{quoted(person_id)}" if person_id else of_all
