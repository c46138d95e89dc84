"""Whether a log is what its signed checkpoints say, wherever they are kept."""

from collections.abc import Sequence

from pipeline.audit.checkpoint import NamedCheckpoint
from pipeline.audit.edge import Edge
from pipeline.audit.faults import Faults


class HeadCheck:
    def __init__(self, known: Sequence[NamedCheckpoint], faults: Faults) -> None:
        self._faults = faults
        self._by_size: dict[int, list[NamedCheckpoint]] = {}
        for one in known:
            self._by_size.setdefault(one.checkpoint.size, []).append(one)
        self.compared = 0

    def compare(self, edge: Edge) -> None:
        """Call it for each size of the tree."""
        if edge.size not in self._by_size:
            return
        root = edge.root()
        for one in self._by_size.pop(edge.size):
            self.compared += 1
            if one.checkpoint.root != root:
                self._faults.add(
                    None,
                    f"{one.name}: the log was changed or forked. Its first {edge.size} entries are not those "
                    "of this checkpoint",
                )

    def finish(self, edge: Edge) -> None:
        for size, ones in sorted(self._by_size.items()):
            if size > edge.size:
                for one in ones:
                    self._faults.add(
                        edge.size,
                        f"{one.name}: the log was cut or rolled back. It has {edge.size} entries, and this "
                        f"checkpoint has {size}",
                    )
