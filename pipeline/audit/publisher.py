"""The thread that publishes a log: soon after each entry, and at the end."""

import logging
import threading
from collections.abc import Callable, Sequence

from pipeline.audit.checkpoint import Checkpoint, open_checkpoint
from pipeline.audit.note import VerifierKey
from pipeline.audit.place import Place, read_checkpoint
from pipeline.audit.publish import nodes_of, write_checkpoint, write_tiles
from pipeline.audit.tiles import CHECKPOINT
from pipeline.audit.tree import NodeReader
from pipeline.errors import PictorError
from pipeline.ports.audit import PublishedLog

logger = logging.getLogger(__name__)

INTERVAL_S = 3.0  # each pass takes 5 ms of the processor, and a bucket 10 ms for each of a few files
RETRY_S = 10.0
CLOSE_WAIT_S = 60.0

Cosign = Callable[[Checkpoint, NodeReader], Checkpoint]  # adds the signatures of witnesses that answered


class Publisher:
    """Made by whoever opens the log, and closed before it.

    Args:
        tiles: where tiles, entries and the checkpoint are written; None for nowhere.
        copies: where checkpoints are written besides.
        cosign: asks witnesses.
    """

    def __init__(
        self,
        log: PublishedLog,
        key: VerifierKey,
        *,
        tiles: Place | None,
        copies: Sequence[Place] = (),
        cosign: Cosign | None = None,
    ) -> None:
        self._log, self._key, self._tiles, self._copies, self._cosign = log, key, tiles, copies, cosign
        self._published = 0  # size of the tree that this process knows to be there
        self._wanted, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def notify(self) -> None:
        """There are new entries. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit-publisher", daemon=True)
            self._thread.start()
        if not self._wanted.is_set():  # each search comes here, and most find it set
            self._wanted.set()

    def close(self) -> None:
        """Publish what is left, and end."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(CLOSE_WAIT_S)

    def publish(self) -> None:
        """Once, in this thread. Goes on until nothing is newer, so that the last of two processes wins."""
        while self.publish_newest():
            pass

    def publish_newest(self) -> bool:
        """Whether anything was newer. More may be by now: a busy log grows while it is written."""
        head = self._log.head()
        if head.size <= self._published:
            return False
        if self._tiles is not None:
            write_tiles(self._log, self._tiles, head.size, since=self._size_there(self._tiles))
        checkpoint = self._cosigned(head.checkpoint)
        if self._tiles is not None:
            write_checkpoint(self._log, self._tiles, checkpoint, self._key)
        for copy in self._copies:
            write_checkpoint(self._log, copy, checkpoint, self._key, days=True)
        self._published = head.size
        return True

    def _cosigned(self, text: str) -> str:
        if self._cosign is None:
            return text
        checkpoint = open_checkpoint(text, self._key)
        signed = str(self._cosign(checkpoint, nodes_of(self._log, checkpoint).node))
        if signed != text:
            self._log.set_cosigned(signed)
        return signed

    def _size_there(self, place: Place) -> int:
        there = read_checkpoint(place, CHECKPOINT, self._key)
        return there.size if there else 0

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            pause_s = INTERVAL_S
            if not self._try(self._publish_in_turn, "the audit log could not be published"):
                pause_s = RETRY_S
                self._wanted.set()
            if self._closing.wait(pause_s):
                break
        self._try(self.publish, "the audit log could not be published at the end")

    def _publish_in_turn(self) -> None:
        """Once in each interval. On a busy log, one pass after the other would never end."""
        if self.publish_newest():
            self._wanted.set()  # to look again: another process may have written an older one over it

    def _try(self, work: Callable[[], None], words: str) -> bool:
        try:
            work()
        except PictorError as err:
            logger.error(words, extra={"error": str(err)})
            return False
        except Exception:  # the top of a thread: without it nothing would be published any more
            logger.exception(words)
            return False
        return True
