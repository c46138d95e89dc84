"""Which tests a process takes next, so that waiting and computing go on at once."""

import ast
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.side_by_side import computing_in, group_of, next_group

CHAOS, CONTRACT = "tests/chaos/test_poison.py", "tests/contract/test_ledger.py"
INTEGRATION = REPOSITORY / "tests" / "integration"
FLEET = group_of("tests/integration/test_flower.py::test_a_page")
QUEUE = {
    group: [f"{group}::test_{number}" for number in range(count)]
    for group, count in {
        CHAOS: 1,
        FLEET: 9,
        CONTRACT: 20,
        "tests/golden/test_wire_format.py": 4,
        "tests/unit/test_a.py": 3,
        "tests/unit/test_b.py": 5,
    }.items()
}


def test_tests_without_services_are_counted() -> None:
    assert computing_in(QUEUE) == 4 + 3 + 5


@pytest.mark.parametrize(
    ("kept", "taken"),
    [
        (None, [CHAOS, FLEET, CONTRACT, "tests/golden/test_wire_format.py"]),
        (12, [CHAOS, FLEET, CONTRACT, "tests/golden/test_wire_format.py"]),
        (6, ["tests/unit/test_b.py", "tests/unit/test_a.py", CHAOS, FLEET]),
        (0, ["tests/unit/test_b.py", "tests/unit/test_a.py", "tests/golden/test_wire_format.py", CHAOS]),
    ],
)
def test_one_process_begins_with_what_computes_and_keeps_some_for_the_end(
    kept: int | None, taken: list[str]
) -> None:
    queue = dict(QUEUE)
    for group in taken:
        assert next_group(queue, computing_kept=kept) == group
        del queue[group]


# What is slow to start


@pytest.mark.parametrize("path", sorted(INTEGRATION.glob("test_*.py")), ids=lambda path: path.stem)
def test_files_that_use_the_running_system_are_one_group(path: Path) -> None:
    """Another process would start a system of its own for one of them, which takes it 20 s of CPU."""
    functions = [
        node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    ]
    own = {function.name for function in functions}
    asked_for = {
        argument.arg
        for function in functions
        if function.name.startswith("test_") or "fixture" in map(name_of, function.decorator_list)
        for argument in function.args.args
    }
    uses_it = bool({"fleet", "bucket"} & asked_for - own)
    assert (group_of(f"tests/integration/{path.name}::test") == FLEET) == uses_it


def name_of(decorator: ast.expr) -> str:
    return ast.unparse(decorator).partition("(")[0].rpartition(".")[2]
