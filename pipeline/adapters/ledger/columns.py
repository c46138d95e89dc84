"""Types of columns that mean the same in SQLite and in PostgreSQL."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """SQLite forgets time zones and PostgreSQL answers in the session's: both become UTC here."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class TextTuple(TypeDecorator[tuple[str, ...]]):
    """A JSON array in a text column: equal tuples are equal text, so that it can be compared in SQL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[str] | None, _dialect: Dialect) -> str:
        return json.dumps(list(value or ()), ensure_ascii=False)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> tuple[str, ...]:
        return tuple(json.loads(value or "[]"))


class TextMap(TypeDecorator[Mapping[str, str]]):
    """A JSON object of texts in a text column."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, str] | None, _dialect: Dialect) -> str:
        return json.dumps(dict(value or {}), ensure_ascii=False)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> Mapping[str, str]:
        return dict(json.loads(value or "{}"))


# Byte order in both databases: a PostgreSQL server sorts by its locale unless told otherwise.
ByteText = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

metadata = sa.MetaData()  # of all tables of the ledger
