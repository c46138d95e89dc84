"""The names of queues, and which of them a role of workers takes messages from. Needs no broker's client.

    plan               submissions and plan steps
    prepare.<model>    batches of one model, to be fetched and decoded
    embed.<model>      batches of one model, to be embedded and written
    search             questions, from clients that know no model
    search.<model>     those that only workers of this model can answer
    dead               dead letters

`<model>` is the first 8 digits of its fingerprint, so that fleets of several models live on one broker.
Batches are prepared for one model, too: its preprocessing decides the pixels of a block.
"""

import re
from collections.abc import Collection, Sequence

from pipeline.errors import ArgumentError

PLAN, PREPARE, EMBED, SEARCH, DEAD = "plan", "prepare", "embed", "search", "dead"
ROLES = (PLAN, PREPARE, EMBED, SEARCH)
ROLES_OF_A_MODEL = (PREPARE, EMBED, SEARCH)
PUBLIC_QUEUES = (PLAN, SEARCH)

# Of the version before: all models in one, and another word for `prepare`. Messages left on them are done.
FORMER_PREPARE = "ingest"
FORMER_QUEUES = {PREPARE: FORMER_PREPARE, EMBED: EMBED}

WORK_QUEUE = re.compile(
    rf"(?:{'|'.join((*PUBLIC_QUEUES, *FORMER_QUEUES.values()))}"
    rf"|(?:{'|'.join(ROLES_OF_A_MODEL)})\.[0-9a-f]{{8}})"
)
_AT_THE_END = re.compile(rf"(?:^|\.)({WORK_QUEUE.pattern})$")


def read_roles(names: Sequence[str]) -> list[str]:
    """The roles that `--queues` names. The former name of `prepare` is understood.

    Raises:
        ArgumentError: none is given, or one is unknown.
    """
    unknown = sorted(set(names) - {*ROLES, FORMER_PREPARE})
    if unknown or not names:
        raise ArgumentError(f"--queues {','.join(unknown) or '(none)'}: {', '.join(ROLES)} are allowed")
    return list(dict.fromkeys(PREPARE if name == FORMER_PREPARE else name for name in names))


def model_queue(role: str, fingerprint: str) -> str:
    """The queue of one model's workers of a role.

    Args:
        fingerprint: of the model. At least its first 8 hex digits.
    """
    return f"{role}.{fingerprint[:8]}"


def model_queues(fingerprint: str) -> tuple[str, ...]:
    return tuple(model_queue(role, fingerprint) for role in ROLES_OF_A_MODEL)


def consumed_queues(roles: Sequence[str], fingerprint: str, *, there: Collection[str]) -> list[str]:
    """The queues that a worker of these roles takes messages from.

    Args:
        fingerprint: of its model.
        there: which of `FORMER_QUEUES` the broker has.
    """
    public = [role for role in roles if role in PUBLIC_QUEUES]
    own = [model_queue(role, fingerprint) for role in roles if role in ROLES_OF_A_MODEL]
    former = [FORMER_QUEUES[role] for role in roles if FORMER_QUEUES.get(role) in there]
    return [*public, *own, *former]


def is_work_queue(name: object) -> bool:
    return isinstance(name, str) and WORK_QUEUE.fullmatch(name) is not None


def role_of(queue: str) -> str:
    """The role whose workers take from a work queue."""
    return PREPARE if queue == FORMER_PREPARE else queue.partition(".")[0]


def queue_of(routing_key: str) -> str:
    """The work queue that a message came by, or "". Of one that was delivered late, the key begins with the
    delay, bit by bit: `0.0.….1.embed.f5c4f95b`.
    """
    found = _AT_THE_END.search(routing_key)
    return found[1] if found else ""
