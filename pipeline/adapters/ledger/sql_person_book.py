"""Persons over faces and tags of collections, in the ledger's database."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.person_schema import collection_tag, person, person_face
from pipeline.adapters.ledger.statements import insert_into, slices
from pipeline.ports.image_rows import MAX_VIEWS, view_row_id
from pipeline.ports.persons import check_face_count, check_tag_count, no_such_person
from pipeline.types import Box, Person, PersonFace

IMAGES_PER_STATEMENT = 100  # SQLite takes no condition of over a thousand parts


class SqlPersonBook(InTransactions):
    """Implements `ports.PersonBook`."""

    def create(self, person_: Person) -> bool:
        def write(connection: sa.Connection) -> bool:
            made = insert_into(connection, person).values(asdict(person_)).on_conflict_do_nothing()
            connection.execute(made)
            return _find(connection, person_.collection, person_.person_id) == person_

        return self._write(write)

    def find(self, collection: str, person_id: str) -> Person | None:
        return self._read(lambda connection: _find(connection, collection, person_id))

    def page(self, collection: str, *, limit: int, after: str = "") -> list[Person]:
        behind = (person.c.collection == collection, person.c.person_id > after)
        found = sa.select(person).where(*behind).order_by(person.c.person_id).limit(limit)
        return self._read(lambda connection: list(map(_person_of, connection.execute(found))))

    def count(self, collection: str) -> int:
        return self._read(lambda connection: _count(connection, person.c.collection == collection))

    def delete(self, collection: str, person_id: str) -> None:
        def write(connection: sa.Connection) -> None:
            _lock(connection, collection, person_id)
            for table in (person_face, person):
                connection.execute(table.delete().where(*_is(table, collection, person_id)))

        self._write(write)

    def faces_of(self, collection: str, person_ids: Sequence[str]) -> Mapping[str, Sequence[PersonFace]]:
        faces: dict[str, list[PersonFace]] = {}
        rows = self._select(collection, person_face.c.person_id, person_ids)
        for row in sorted(rows, key=lambda row: row.row_id):
            faces.setdefault(row.person_id, []).append(_face_of(row))
        return faces

    def owners(self, collection: str, row_ids: Sequence[str]) -> Mapping[str, tuple[str, PersonFace]]:
        rows = self._select(collection, person_face.c.row_id, row_ids)
        return {row.row_id: (row.person_id, _face_of(row)) for row in rows}

    def _select(self, collection: str, column: sa.Column[Any], values: Sequence[str]) -> list[sa.Row[Any]]:
        mine = sa.select(person_face).where(person_face.c.collection == collection)
        return self._read(
            lambda connection: [
                row for some in slices(values) for row in connection.execute(mine.where(column.in_(some)))
            ]
        )

    def add_faces(
        self, collection: str, person_id: str, faces: Sequence[PersonFace], *, gone: Sequence[str] = ()
    ) -> Mapping[str, str]:
        ids = [face.row_id for face in faces]
        rows = [_values(collection, person_id, face) for face in faces]

        def write(connection: sa.Connection) -> Mapping[str, str]:
            if not _lock(connection, collection, person_id):
                raise no_such_person(collection, person_id)
            _free(connection, collection, gone)
            if rows:
                connection.execute(insert_into(connection, person_face).on_conflict_do_nothing(), rows)
            check_face_count(person_id, _count(connection, *_is(person_face, collection, person_id)))
            of = sa.select(person_face.c.row_id, person_face.c.person_id)
            found = connection.execute(of.where(*_are(collection, ids)))
            return {row.row_id: row.person_id for row in found}

        return self._write(write)

    def remove_faces(self, collection: str, person_id: str, row_ids: Sequence[str]) -> None:
        mine = (*_are(collection, row_ids), person_face.c.person_id == person_id)
        self._write(lambda connection: connection.execute(person_face.delete().where(*mine)))

    def forget_images(self, collection: str, image_ids: Sequence[str]) -> None:
        mine = person_face.delete().where(person_face.c.collection == collection)

        def write(connection: sa.Connection) -> None:
            for start in range(0, len(image_ids), IMAGES_PER_STATEMENT):
                these = map(_is_of_image, image_ids[start : start + IMAGES_PER_STATEMENT])
                connection.execute(mine.where(sa.or_(*these)))

        self._write(write)

    def forget_collection(self, collection: str) -> None:
        def write(connection: sa.Connection) -> None:
            for table in (person_face, person, collection_tag):
                connection.execute(table.delete().where(table.c.collection == collection))

        self._write(write)

    def tags(self, collection: str) -> Mapping[str, str]:
        mine = sa.select(collection_tag).where(collection_tag.c.collection == collection)
        by_key = mine.order_by(collection_tag.c.key)
        return self._read(lambda connection: {row.key: row.value for row in connection.execute(by_key)})

    def set_tags(self, collection: str, tags: Mapping[str, str]) -> None:
        rows = [{"collection": collection, "key": key, "value": value} for key, value in tags.items()]

        def write(connection: sa.Connection) -> None:
            insert = insert_into(connection, collection_tag)
            keys = [collection_tag.c.collection, collection_tag.c.key]
            changed = insert.on_conflict_do_update(index_elements=keys, set_={"value": insert.excluded.value})
            if rows:
                connection.execute(changed, rows)
            found = _count(connection, collection_tag.c.collection == collection)
            check_tag_count(collection, found)

        self._write(write)

    def remove_tags(self, collection: str, keys: Sequence[str]) -> None:
        mine = (collection_tag.c.collection == collection, collection_tag.c.key.in_(keys))
        self._write(lambda connection: connection.execute(collection_tag.delete().where(*mine)))


def _find(connection: sa.Connection, collection: str, person_id: str) -> Person | None:
    row = connection.execute(sa.select(person).where(*_is(person, collection, person_id))).first()
    return _person_of(row) if row else None


def _lock(connection: sa.Connection, collection: str, person_id: str) -> bool:
    """Whoever counts the faces of a person must be alone with them. In SQLite, a writer is."""
    mine = sa.select(person.c.person_id).where(*_is(person, collection, person_id)).with_for_update()
    return connection.execute(mine).first() is not None


def _count(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(*which)) or 0


def _is(table: sa.Table, collection: str, person_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.collection == collection, table.c.person_id == person_id


def _are(collection: str, row_ids: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return person_face.c.collection == collection, person_face.c.row_id.in_(row_ids)


def _is_of_image(image_id: str) -> sa.ColumnElement[bool]:
    """A range, which the primary key answers: the row of the image, or one of its views."""
    row_id, first, last = person_face.c.row_id, view_row_id(image_id, 0), view_row_id(image_id, MAX_VIEWS - 1)
    return sa.or_(row_id == image_id, sa.and_(row_id >= first, row_id <= last))


def _free(connection: sa.Connection, collection: str, row_ids: Sequence[str]) -> None:
    if row_ids:
        connection.execute(person_face.delete().where(*_are(collection, row_ids)))


def _values(collection: str, person_id: str, face: PersonFace) -> dict[str, str]:
    box = ",".join(map(str, astuple(face.box))) if face.box else ""
    return {
        "collection": collection,
        "person_id": person_id,
        "row_id": face.row_id,
        "etag": face.etag,
        "box": box,
    }


def _person_of(row: sa.Row[Any]) -> Person:
    return Person(**row._mapping)


def _face_of(row: sa.Row[Any]) -> PersonFace:
    sides = [int(side) for side in row.box.split(",") if side]
    box = Box(left=sides[0], top=sides[1], width=sides[2], height=sides[3]) if sides else None
    return PersonFace(row_id=row.row_id, etag=row.etag, box=box)
