"""The persons of a collection of faces on the search page.

An id of a person may be a name, so it stands in no address: each person is a button of the page's form, which
also sends why somebody searches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.api.backend import Backend
from pipeline.errors import PictorError
from pipeline.search.query import Person
from pipeline.service.access import Caller
from pipeline.service.persons import MAX_PERSON_ID_CHARS, ShownPerson, list_persons

PERSONS_SHOWN = 24  # at once. A face of each is cut out once it comes into view

PersonId = Annotated[str, Field(max_length=MAX_PERSON_ID_CHARS)]


class PersonFields(BaseModel):
    """Which person is looked for, as the form has it."""

    model_config = ConfigDict(frozen=True)

    person: PersonId = ""  # as somebody typed it
    chosen_person: PersonId = ""  # whose button was pressed. The typed person and id count no more then
    persons_after: PersonId = ""  # a button that lists the persons behind this one and looks for nobody

    @property
    def wanted(self) -> Person | None:
        person_id = self.chosen_person or self.person.strip()
        return Person(text=person_id, id=person_id) if person_id and not self.persons_after else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonList:
    """A part of the persons of a collection, by id. `error` says why there is none."""

    persons: Sequence[ShownPerson] = ()
    after: str = ""
    has_more: bool = False
    error: str = ""


def list_shown_persons(collection: str, after: str, ports: Backend, caller: Caller) -> PersonList:
    """Those behind the id `after`. A page whose persons cannot be listed still searches."""
    try:
        found = list_persons(collection, ports.search_ports(), caller, limit=PERSONS_SHOWN + 1, after=after)
    except PictorError as err:
        return PersonList(error=str(err))
    return PersonList(persons=found[:PERSONS_SHOWN], after=after, has_more=len(found) > PERSONS_SHOWN)
