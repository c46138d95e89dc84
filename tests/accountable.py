"""What searches of tests answer to: a log and policies in memory."""

from pipeline.ports import AuditLog, VectorIndex
from pipeline.service.accountability import Accountability
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook

# For tests of what is not about the log.
NO_LOG = Accountability(log=None, policies=MemoryPolicyBook(), index=None)


def accountability(index: VectorIndex, log: AuditLog | None = None) -> Accountability:
    """Recording, in a log of its own unless one is given. No collection has a policy."""
    return Accountability(log=log or MemoryAuditLog(), policies=MemoryPolicyBook(), index=index)
