"""The parts behind the service. Each is looked at by a thread of its own, so that no probe hangs with it."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import PictorError

logger = logging.getLogger(__name__)

READY: Final = "ready"
NOT_READY: Final = "not_ready"
LOOK_S = 3.0  # an answer takes milliseconds, and a probe of Kubernetes waits for 5 s


@dataclass(kw_only=True)
class Part:
    """Args: `look` raises what is wrong. `is_needed` says whether the service is of no use without it."""

    name: str
    look: Callable[[], object]
    is_needed: bool = True
    _asked: "Future[str] | None" = field(default=None, init=False)

    def ask(self) -> "Future[str]":
        """A look that is under way is shared: there is one thread for a part, however many probes wait."""
        if self._asked is None or self._asked.done():
            self._asked = Future()
            self._asked.set_running_or_notify_cancel()  # from here on nobody can cancel it
            threading.Thread(target=self._answer, args=(self._asked,), name="probe", daemon=True).start()
        return self._asked

    def _answer(self, asked: "Future[str]") -> None:
        try:
            self.look()
        except PictorError as err:
            asked.set_result(str(err))
        except Exception:  # the top of a thread; the text may be a library's and is not for the caller
            logger.exception("part not looked at", extra={"part": self.name})
            asked.set_result("an internal error; the log of the service has it")
        else:
            asked.set_result(READY)


async def states_of(parts: Sequence[Part], *, limit_s: float = LOOK_S) -> Mapping[str, str]:
    """By name: "ready", or what is wrong. To be called in the thread of the event loop alone.

    Args:
        limit_s: for all together.
    """
    asked = {part.name: asyncio.wrap_future(part.ask()) for part in parts}
    await asyncio.wait(asked.values(), timeout=limit_s)
    return {
        name: answer.result() if answer.done() else f"no answer within {limit_s:g} s"
        for name, answer in asked.items()
    }
