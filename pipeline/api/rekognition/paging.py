"""NextToken: where the next page begins."""

from pipeline.api.aws.errors import AwsError
from pipeline.api.cursors import Cursors
from pipeline.errors import ArgumentError


def read_token(token: str | None, cursors: Cursors, *, of: str) -> str:
    """Raises AwsError: no token of this list."""
    if not token:
        return ""
    try:
        return cursors.read(token, of=of)
    except ArgumentError as err:
        raise AwsError("InvalidPaginationTokenException", str(err)) from err
