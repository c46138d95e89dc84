"""The work that one file may cause: steps and bytes of our own parsers, and processor time.

A few kilobytes can ask for hours, for example with thousands of items that all point at the same bytes. So
the parsers here pay for each box, segment, chunk, tag and unit that they look at, and a file may spend no
more than its size allows. What decoders do in C cannot be stopped. Where its amount can be told from the
header it is judged before it starts. For the rest there is a deadline, which is looked at between steps.
"""

import math
import time
from collections.abc import Callable
from typing import IO

from pipeline.errors import ImageError
from pipeline.types import Reason

FREE_STEPS = 1024  # a header has some fifty, whatever the size of the file
BYTES_PER_STEP = 2  # the shortest unit of any format; real ones have ten and more
MAX_STEPS = 131_072  # a tenth of a second
FREE_BYTES = 32 * 2**20  # an inflated profile of 4 MB and 16 texts of 1 MB
READS_OF_A_BYTE = 4  # by all parsers of a format together; each goes over the file once or twice
_READS_PER_LOOK = 256  # decoders in Python read byte by byte, and a look at the clock costs as much as a read


class Deadline:
    """When the work on one image ends. It belongs to the thread that works.

    Args:
        deadline_s: processor time of this thread, from now on. Waiting for others does not count.
        now: the clock, in seconds.
        late: what is said of an image that is not done by then.
    """

    def __init__(
        self,
        deadline_s: float,
        *,
        now: Callable[[], float] = time.thread_time,
        late: str = "not decoded",
    ) -> None:
        self._deadline_s = deadline_s
        self._now = now
        self._late = late
        self._ends = now() + deadline_s
        self._paused = math.nan

    def check_time(self) -> None:
        """Raises ImageError(timeout) when the deadline has passed."""
        if self._now() > self._ends:
            raise ImageError(Reason.TIMEOUT, f"{self._late} within {self._deadline_s:g} s of processor time")

    def pause(self) -> None:
        """The thread goes on with another image, whose time is not that of this one."""
        self._paused = self._now()

    def resume(self) -> None:
        """After a pause."""
        self._ends += self._now() - self._paused


class Work(Deadline):
    """The account of one image. It belongs to the thread that decodes it.

    Args:
        body_bytes: size of the file.
        deadline_s, now: see `Deadline`.
    """

    def __init__(
        self,
        body_bytes: int,
        *,
        deadline_s: float = math.inf,
        now: Callable[[], float] = time.thread_time,
    ) -> None:
        self.max_steps = min(FREE_STEPS + body_bytes // BYTES_PER_STEP, MAX_STEPS)
        self.max_bytes = FREE_BYTES + READS_OF_A_BYTE * body_bytes
        self.steps = 0
        self.bytes_read = 0
        self._body_bytes = body_bytes
        super().__init__(deadline_s, now=now)

    def step(self, count: int = 1) -> None:
        """Pay for `count` parts of a file, before they are looked at.

        Raises:
            ImageError: decode_error, when it is more than a file of this size may cost.
        """
        self.steps += count
        if self.steps > self.max_steps:
            raise ImageError(
                Reason.DECODE_ERROR,
                f"a structure that takes over {self.max_steps} steps to read, in {self._body_bytes} bytes",
            )

    def read(self, size_bytes: int) -> None:
        """Pay for bytes that are copied, checked or inflated. Raises as `step` does."""
        self.bytes_read += size_bytes
        if self.bytes_read > self.max_bytes:
            raise ImageError(
                Reason.DECODE_ERROR,
                f"a structure that takes over {self.max_bytes} bytes to read, in {self._body_bytes} bytes",
            )


class TimedFile:
    """An opened file that a decoder reads piece by piece, with a look at the deadline before each."""

    def __init__(self, file: IO[bytes], work: Work) -> None:
        self._file = file
        self._work = work
        self._small_reads = 0
        self.seek = file.seek
        self.tell = file.tell
        self.close = file.close

    def read(self, size: int = -1, /) -> bytes:
        if size == 1:
            self._small_reads += 1
        if size != 1 or self._small_reads % _READS_PER_LOOK == 0:
            self._work.check_time()
        return self._file.read(size)
