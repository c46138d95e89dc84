"""Forms as browsers send them."""

from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from fastapi import Body
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from pipeline.errors import ArgumentError

Fields = TypeVar("Fields", bound=BaseModel)

MAX_FIELDS = 50  # of the largest form here there are ten

FormBody = Annotated[bytes, Body(media_type="application/x-www-form-urlencoded", max_length=65_536)]


def read_form(form: bytes, kind: type[Fields]) -> Fields:
    """The fields of a form. Of one that comes twice, the last counts.

    Raises:
        ArgumentError: it is no form.
        RequestValidationError: a field is not as `kind` has it.
    """
    try:
        given = dict(parse_qsl(form.decode("utf-8", "replace"), max_num_fields=MAX_FIELDS))
    except ValueError as err:
        raise ArgumentError(f"the form has more than {MAX_FIELDS} fields") from err
    try:
        return kind.model_validate(given)
    except ValidationError as err:
        raise RequestValidationError(err.errors()) from err
