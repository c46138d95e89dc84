"""The command line: `pictor ingest`, `search`, `jobs`, `collections`, `models`, `doctor`.

Exit codes: 0 done; 1 the work could not be finished, or too much of it failed; 2 bad usage or configuration;
130 stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

import sys

from pipeline.cli.exit_codes import EXIT_USAGE, exit_code_of
from pipeline.cli.output import fail
from pipeline.cli.quick_search import search_quickly
from pipeline.cli.rights import keep_private
from pipeline.errors import PictorError
from pipeline.garbage import look_seldom

# Packages that a command may find missing, by the extra that brings them.
EXTRAS = {
    "client": {"celery", "kombu", "amqp"},
    "embedded": {"alembic", "milvus_lite", "minio", "obstore", "PIL", "pymilvus", "sqlalchemy", "torch"}
    | {"cryptography", "rfc8785"},
    "worker": {"psycopg", "prometheus_client"},
}


def main() -> None:
    """Entry point of the console script. Errors become one line on standard error, never a traceback."""
    keep_private()
    look_seldom()
    try:
        code = search_quickly(sys.argv[1:])
        if code is not None:
            sys.exit(code)
        from pipeline.cli.app import app

        app()
    except PictorError as err:
        fail(str(err))
        sys.exit(exit_code_of(err.code))
    except ModuleNotFoundError as err:
        package = (err.name or "").partition(".")[0]
        extra = next((extra for extra, brought in EXTRAS.items() if package in brought), None)
        if extra is None:
            raise  # a fault of ours
        fail(f"this needs {package}, which is not installed; pip install 'pictor[{extra}]'")
        sys.exit(EXIT_USAGE)
