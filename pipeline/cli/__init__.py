"""The command line: `pictor ingest`, `search`, `jobs`, `collections`, `models`, `doctor`.

Exit codes: 0 done; 1 the work could not be finished, or too much of it failed; 2 bad usage or configuration;
130 stopped by Ctrl-C.
"""

import sys

from pipeline.cli.app import app
from pipeline.cli.exit_codes import exit_code_of
from pipeline.cli.output import fail
from pipeline.errors import PictorError


def main() -> None:
    """Entry point of the console script. Errors become one line on standard error, never a traceback."""
    try:
        app()
    except PictorError as err:
        fail(str(err))
        sys.exit(exit_code_of(err.code))
