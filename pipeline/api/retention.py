"""Erases the records of the log whose time is over, once a day, in a service that owns its ledger."""

import logging
import threading
from collections.abc import Callable

from pipeline.errors import PictorError

logger = logging.getLogger(__name__)

DAY_S = 24 * 3600.0
STOP_S = 30.0  # for a page of erasures that is under way


class DailyRetention:
    """A thread that erases when the service starts, and every day after that.

    Args:
        erase: see `erase_due`.
    """

    def __init__(self, erase: Callable[[], int], *, every_s: float = DAY_S) -> None:
        self._erase, self._every_s = erase, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while True:
            try:
                if erased := self._erase():
                    logger.info("records erased", extra={"records": erased})
            except PictorError as err:  # the next day comes
                logger.warning("records not erased", extra={"error": str(err)})
            if self._stopping.wait(self._every_s):
                return
