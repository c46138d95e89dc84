"""What each role is answered by each operation of the Rekognition endpoint, under each policy, as a table.

The operations are those of the application. One without an example, or without its rows in the table, fails.
After a change, write the table anew and look at what is different:
python -m tests.golden.test_rekognition_matrix
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.api.aws.middleware import FOLDER
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import KeyRole
from tests.golden.test_role_matrix import ROUTES
from tests.unit.aws_endpoint import EXAMPLES, STATES, Endpoint, State

WRITE = "run python -m tests.golden.test_rekognition_matrix"
TABLE = Path(__file__).parent / "rekognition_matrix.txt"
OF_ALL = ("allows", "no role named")  # where nobody is looked for, a policy of searches changes nothing

OPERATIONS = sorted(
    path.removeprefix(f"{FOLDER}/") for _, path in ROUTES if path.startswith(f"{FOLDER}/") and "{" not in path
)


def states_of(operation: str) -> Sequence[str]:
    return tuple(STATES) if EXAMPLES[operation].threshold else OF_ALL


def rows(endpoint: Endpoint, operation: str) -> Iterator[str]:
    for name in states_of(operation):
        cells = [endpoint.answer(operation, role, STATES[name]) for role in KeyRole]
        yield from (
            f"{operation:20} {name:18} {role.value:10} {cell}"
            for role, cell in zip(KeyRole, cells, strict=True)
        )


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path_factory.mktemp("rekognition"), MemoryAuditLog())
    yield made
    made.close()


def test_every_operation_has_an_example() -> None:
    assert sorted(EXAMPLES) == OPERATIONS, (
        "add an example and run python -m tests.golden.test_rekognition_matrix"
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_table_says_what_each_role_is_answered(operation: str, endpoint: Endpoint) -> None:
    expected = [row for row in TABLE.read_text().splitlines() if row.split()[0] == operation]
    assert expected, f"the operation has no row: {WRITE}"
    assert list(rows(endpoint, operation)) == expected


# What must hold of the table, whoever wrote it


def cells() -> Iterator[tuple[str, State, KeyRole, list[str]]]:
    """Operation, state, role and the words of the answer."""
    for row in TABLE.read_text().splitlines():
        yield row[:20].strip(), STATES[row[21:39].strip()], KeyRole(row[40:50].strip()), row[51:].split()


def test_whoever_searches_leaves_one_entry_and_whom_a_policy_refuses_is_told_nothing() -> None:
    for operation, state, role, (code, *said) in cells():
        if not EXAMPLES[operation].threshold:
            assert said == [], operation
        elif role in SEARCHERS:
            assert (code, said) == (
                ("AccessDeniedException", [state.reason]) if state.reason else ("ok", ["allowed"])
            )
        else:
            assert (code, said) == ("AccessDeniedException", ["access_denied"]), (operation, role)


def test_who_looks_on_changes_nothing() -> None:
    for operation, _, role, (code, *_said) in cells():
        if role in LOOKERS_ON and operation.startswith(CHANGES):
            assert code == "AccessDeniedException", (operation, role)


def test_a_policy_of_searches_changes_no_other_operation() -> None:
    others = {(operation, role): set[str]() for operation, _, role, _ in cells()}
    for operation, _, role, words in cells():
        others[operation, role].add(" ".join(words))
    assert [
        named for named, found in others.items() if not EXAMPLES[named[0]].threshold and len(found) > 1
    ] == []


CHANGES = ("Associate", "Create", "Delete", "Disassociate", "Index", "Tag", "Untag")
SEARCHERS = (KeyRole.ADMIN, KeyRole.WRITER, KeyRole.SEARCHER)
LOOKERS_ON = (KeyRole.AUDITOR, KeyRole.APPROVER, KeyRole.VERIFIER)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asked = Endpoint(Path(made), MemoryAuditLog())
        TABLE.write_text("\n".join(row for operation in OPERATIONS for row in rows(asked, operation)) + "\n")
        asked.close()
