"""One line per event: time, level, process, logger, a constant message, then its fields as name=value."""

import json
import logging

# Every record carries these. All else was given as `extra` and is a field of the event.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class FieldFormatter(logging.Formatter):
    """Fields after the message; values that are not plain words are quoted, so a line can be parsed."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(processName)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        line = super().formatMessage(record)
        fields = [f"{name}={_shown(value)}" for name, value in vars(record).items() if name not in _STANDARD]
        return " ".join([line, *fields])


def configure_logging(level: str) -> None:
    """Log to standard error. Celery's own lines about each task say less than ours about each batch."""
    handler = logging.StreamHandler()
    handler.setFormatter(FieldFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("celery.app.trace", "celery.worker.strategy", "alembic", "httpx"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def _shown(value: object) -> str:
    text = str(value)
    return (
        text if text and all(char.isprintable() and char not in ' "=' for char in text) else json.dumps(text)
    )
