"""Why somebody searches, as the commands that search or compare take it."""

from typing import Annotated

import typer

Case = Annotated[str, typer.Option(help="Reference of the case.")]
Offence = Annotated[str, typer.Option(help="Code of the offence.")]
Authorisation = Annotated[str, typer.Option(help="Reference of the authorisation.")]
Authority = Annotated[str, typer.Option(help="Who gave the authorisation.")]

PurposeOfSearch = Annotated[str, typer.Option(help="What the search is for, a code of the policy.")]
PersonBehindSearch = Annotated[str, typer.Option(help="The person on whose behalf you search.")]
