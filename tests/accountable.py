"""What searches of tests answer to: a log and policies in memory."""

from datetime import UTC, datetime

from pipeline.ports import AuditLog, VectorIndex
from pipeline.service.accountability import Accountability
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_policies import MemoryPolicyBook
from pipeline.types import CollectionPolicy, PolicyState, PolicyVersion

# For tests of what is not about the log.
NO_LOG = Accountability(log=None, policies=MemoryPolicyBook(), index=None)


def accountability(index: VectorIndex, log: AuditLog | None = None) -> Accountability:
    """Recording, in a log of its own unless one is given. No collection has a policy."""
    return Accountability(log=log or MemoryAuditLog(), policies=MemoryPolicyBook(), index=index)


def policy_version(
    collection: str, policy: CollectionPolicy, *, replaces: int = 0, state: PolicyState = PolicyState.IN_FORCE
) -> PolicyVersion:
    """The one behind `replaces`, whoever would have to agree to it."""
    return PolicyVersion(
        collection=collection,
        version=replaces + 1,
        policy=policy,
        state=state,
        replaces=replaces,
        loosens=(),
        proposed_by="somebody",
        proposed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
