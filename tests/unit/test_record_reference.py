"""The page of a record's fields names each of them, and no other."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pipeline.types.audit import AuditKind, AuditRecord

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "records.md"
ROW = re.compile(r"^\| (`.*?`) \|", re.MULTILINE)


def names_of(record: Any, beginning: str = "") -> Iterator[str]:
    """Dotted names of all fields that hold no others."""
    hints = get_type_hints(record)
    for field in fields(record):
        inner = next(filter(is_dataclass, [hints[field.name], *get_args(hints[field.name])]), None)
        if inner is None:
            yield f"{beginning}{field.name}"
        else:
            yield from names_of(inner, f"{beginning}{field.name}.")


def test_fields_in_fields_are_found() -> None:
    assert {"probe.quality.sharpness", "candidates.rank", "actor.id", "kind"} <= set(names_of(AuditRecord))


def test_the_page_names_every_field_of_a_record_and_no_other() -> None:
    named = [
        name for row in ROW.findall(PAGE.read_text(encoding="utf-8")) for name in re.findall("`(.*?)`", row)
    ]
    assert sorted(named) == sorted(["v", *names_of(AuditRecord)])


def test_the_page_names_every_kind() -> None:
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `kind`"))
    assert re.findall("`(.*?)`", row)[1:] == [kind.value for kind in AuditKind]
