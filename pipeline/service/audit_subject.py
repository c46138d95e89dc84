"""Whom an auditor asks about: everybody who searched with this picture, face or person, or was shown it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ArgumentError
from pipeline.ports.image_rows import image_id_of_row
from pipeline.service.arguments import ROW_ID
from pipeline.service.face_ids import rows_that_may_be
from pipeline.service.query_text import PERSON
from pipeline.types.audit import AuditKind

SHA256 = re.compile(r"[0-9a-f]{64}")
FACE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """`text` is what was asked for. `ids` are those of images, and of rows that are one face of an image.
    `person` is the id of a person of any collection, who is not told by pictures.
    """

    text: str
    person: str = ""
    sha256: str = ""
    ids: frozenset[str] = frozenset()
    image_ids: frozenset[str] = field(init=False)  # of `ids`, told once and not for each record

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_ids", frozenset(map(image_id_of_row, self.ids)))

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Args: `record` as JSON has it."""
        return self.was_searched_with(record) or bool(self.shown_in(record))

    def was_searched_with(self, record: Mapping[str, Any]) -> bool:
        """Also where all faces of an image were searched with, and this is one of them."""
        probe = record["probe"]
        if self.person:
            return bool(probe["source"] == f"{PERSON}{self.person}")
        if self.sha256:
            return bool(probe["sha256"] == self.sha256)
        source = probe["source"]
        return self._is(source) or source in self.image_ids

    def shown_in(self, record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The candidates that are the subject."""
        if self.person:
            found = zip(record["candidates"], persons_found(record), strict=False)
            return [hit for hit, person in found if person == self.person]
        return [hit for hit in record["candidates"] if self._is(hit["id"])]

    def _is(self, id_: str) -> bool:
        return id_ in self.ids or image_id_of_row(id_) in self.ids


def persons_found(record: Mapping[str, Any]) -> Sequence[str]:
    """Who each candidate of a search is, in their order. Empty where faces were found and not persons."""
    found: Sequence[str] = record["details"].get("persons", ()) if record["kind"] == AuditKind.SEARCH else ()
    return found


def read_subject(text: str) -> Subject | None:
    """None for an empty text.

    Raises:
        ArgumentError: it is no digest of a picture, and no id.
    """
    text = text.strip()
    if text.startswith(PERSON) and text != PERSON:
        return Subject(text=text, person=text.removeprefix(PERSON))
    text = text.lower()
    if not text:
        return None
    if SHA256.fullmatch(text):
        return Subject(text=text, sha256=text, ids=frozenset({text[:32]}))  # as comparisons name faces
    if ROW_ID.fullmatch(text):
        return Subject(text=text, ids=frozenset({text}))
    if FACE_ID.fullmatch(text):
        return Subject(text=text, ids=frozenset(rows_that_may_be(text)))
    raise ArgumentError(
        "Person: the SHA-256 of a picture (64 hex digits), a stored id (32), a FaceId or person:ID is "
        "expected"
    )
