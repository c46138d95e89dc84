"""Why somebody searches, as the headers of a request or its body say it."""

from typing import Annotated

from fastapi import Depends, Header

from pipeline.api.bodies import MAX_STATED_CHARS, Stated

Text = Annotated[str, Header(max_length=MAX_STATED_CHARS)]


def _headers(
    x_pictor_purpose: Text = "",
    x_pictor_case: Text = "",
    x_pictor_offence: Text = "",
    x_pictor_authorisation: Text = "",
    x_pictor_authority: Text = "",
) -> Stated:
    return Stated(
        purpose=x_pictor_purpose,
        case=x_pictor_case,
        offence=x_pictor_offence,
        authorisation=x_pictor_authorisation,
        authority=x_pictor_authority,
    )


StatedInHeaders = Annotated[Stated, Depends(_headers)]
