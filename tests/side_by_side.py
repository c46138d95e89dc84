"""How the tests are shared out to processes: pytest -n 3 (see decision 0050).

A process takes one group after another, and runs a group in the usual order. Each process starts services
of its own when a test asks for them, so tests that stop a server disturb only their own process.

Tests with services wait half of their time, and the others compute. One process begins with those that
compute, so that the cores have work while the rest wait (see decision 0191).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from xdist.dsession import DSession
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

_FLEET = "the running system"
# Files that use one running system, which takes as long to start as many a test.
_TOGETHER: Mapping[str, str] = {
    f"tests/integration/test_{name}.py": _FLEET
    for name in (
        "distributed_control",
        "distributed_parity",
        "distributed_submission",
        "flower",
        "made_secrets",
        "second_generation",
        "service_in_a_cluster",
        "two_models",
    )
}
# The longest first: a long one that begins last keeps a process busy while the others have ended.
_LONGEST: Sequence[str] = (
    _FLEET,
    "tests/chaos/test_chaos_run.py",
    "tests/integration/test_runbook.py",
    "tests/chaos/test_elasticity.py",
    "tests/chaos/test_poison.py",
    "tests/contract/test_vector_index.py",
    "tests/integration/test_distributed_model.py",
    "tests/integration/test_stack.py",
    "tests/contract/test_generations_of_indexes.py",
    "tests/integration/test_main_path.py",
    "tests/integration/test_milvus_backup.py",
    "tests/integration/test_worker_metrics.py",
    "tests/integration/test_image.py",
    "tests/contract/test_several_embeddings.py",
    "tests/contract/test_views_of_images.py",
    "tests/integration/test_serve.py",
    "tests/integration/test_decode_memory.py",
    "tests/integration/test_photographs.py",
    "tests/integration/test_bad_input.py",
    "tests/integration/test_label_retrieval.py",
    "tests/integration/test_distributed_planning.py",
    "tests/integration/test_tls.py",
    "tests/integration/test_side_by_side.py",
    "tests/integration/test_init_waits.py",
    "tests/contract",
    "tests/integration",
)
_WAIT = ("tests/chaos", "tests/contract", "tests/integration")


def group_of(nodeid: str) -> str:
    """A file, or several files that share what is slow to start."""
    file = nodeid.partition("::")[0]
    return _TOGETHER.get(file, file)


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Groups stay whole, and tests of a group keep their order."""
    return sorted(items, key=lambda item: _rank(group_of(item.nodeid)))


def _rank(group: str) -> int:
    found = (place for place, start in enumerate(_LONGEST) if group.startswith(start))
    return next(found, len(_LONGEST))


def next_group(queue: Mapping[str, Collection[str]], *, computing_kept: int | None) -> str:
    """The group that a process takes from a queue of groups in our order.

    Args:
        computing_kept: it takes tests that compute, from the end, while more than so many are in the queue.
            None: it takes what comes first.
    """
    if computing_kept is not None and computing_in(queue) > computing_kept:
        return list(queue)[-1]
    return next(iter(queue))


def computing_in(queue: Mapping[str, Collection[str]]) -> int:
    """How many tests need no service."""
    return sum(len(tests) for group, tests in queue.items() if not group.startswith((_FLEET, *_WAIT)))


def make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """pytest-xdist's own, with our groups in our order."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        _kept: int | None = None  # tests that compute, for the end, when the others are over

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def _assign_work_unit(self, node: "WorkerController") -> None:
            if self._kept is None:  # all are in the queue still
                self._kept = computing_in(self.workqueue) // 2
            computes = len(self.nodes) > 1 and node is self.nodes[-1]
            group = next_group(self.workqueue, computing_kept=self._kept if computes else None)
            self.workqueue.move_to_end(group, last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


def end_run(session: "DSession", node: "WorkerController") -> NoReturn:
    """One process has died: name its test, and end the run.

    pytest-xdist 3.8 begins another process, which runs the same test and dies of it, too. Or the new process
    waits for ever, since the groups that are over were given to it once more (its issues 784, 1323 and 1327).
    """
    try:
        test = session.sched.remove_node(node) if session.sched else None
    except KeyError:  # it had not taken any
        test = None
    pytest.exit(f"test process {node.gateway.id} has died in {test or 'no test'}", returncode=1)
