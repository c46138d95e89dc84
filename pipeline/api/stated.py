"""Why somebody searches, as the headers of a request or its body say it."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Header

from pipeline.api.bodies import MAX_STATED_CHARS, Stated
from pipeline.api.header_text import header_text
from pipeline.service.arguments import read_justification
from pipeline.types import Justification

Text = Annotated[str, Header(max_length=MAX_STATED_CHARS)]


async def stated_in(  # waits for nothing, and so needs no other thread: see `backend`
    x_pictor_purpose: Text = "",
    x_pictor_case: Text = "",
    x_pictor_offence: Text = "",
    x_pictor_authorisation: Text = "",
    x_pictor_authority: Text = "",
) -> Stated:
    """What the headers of a request say."""
    return Stated(
        purpose=header_text(x_pictor_purpose),
        case=header_text(x_pictor_case),
        offence=header_text(x_pictor_offence),
        authorisation=header_text(x_pictor_authorisation),
        authority=header_text(x_pictor_authority),
    )


def stated_by(headers: Mapping[str, str]) -> Stated | None:
    """The same, of a request that FastAPI has not read. None if a text is too long."""
    texts = {name: headers.get(f"x-pictor-{name}", "") for name in Stated.model_fields}
    if any(len(text) > MAX_STATED_CHARS for text in texts.values()):
        return None
    return Stated(**{name: header_text(text) for name, text in texts.items()})


def justification_of(stated: Stated, in_body: Stated | None = None) -> Justification:
    """Why somebody searches. Args: `in_body` counts before what the headers say, field by field."""
    said = stated.model_dump() | (in_body.model_dump(exclude_defaults=True) if in_body else {})
    return read_justification(**said)


StatedInHeaders = Annotated[Stated, Depends(stated_in)]
