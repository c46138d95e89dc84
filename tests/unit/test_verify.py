"""Index and book are compared image by image, and either is mended."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import PictorError
from pipeline.ingest.verify import Difference, Verification, verify_collection
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import (
    FailedAt,
    IndexRow,
    ObjectRef,
    Reason,
    VersionEntry,
    VersionState,
    generation_of,
    indexed_version,
)
from tests.index_rows import ids_in, put
from tests.unit.fakes import COLLECTION, SPEC, TARGET, ref_of

GENERATION = generation_of(COLLECTION, SPEC.fingerprint)


def put_row(index: MemoryIndex, *refs: ObjectRef) -> None:
    vector = np.full(SPEC.dim, SPEC.dim**-0.5, dtype=np.float32)
    rows = [
        IndexRow(id=ref.image_id, ref=ref, vector=vector, width=1, height=1, indexed_at=datetime.now(UTC))
        for ref in refs
    ]
    put(index, TARGET, rows)


def failed(ref: ObjectRef, vectors: int = 0) -> VersionEntry:
    return VersionEntry(
        ref=ref,
        state=VersionState.FAILED,
        vectors=vectors,
        stage=FailedAt.DECODE,
        reason=Reason.TRUNCATED,
        detail="",
    )


def verify(index: MemoryIndex, ledger: SqlLedger, *, repair: bool = False) -> Verification:
    info = index.get_collection(COLLECTION)
    assert info is not None
    return verify_collection(info, index, ledger.book, repair=repair, first=5)


REF, OLD = ref_of("a.jpg", etag="e2"), ref_of("a.jpg", etag="e1")


@pytest.mark.parametrize(
    ("row", "entry", "difference"),
    [
        (REF, indexed_version(REF), None),
        (REF, None, Difference.NOT_IN_BOOK),
        (None, indexed_version(REF), Difference.NOT_IN_INDEX),
        (OLD, indexed_version(REF), Difference.OTHER_VERSION),
        (None, failed(REF), None),
        (OLD, failed(REF), Difference.OUTDATED_ROWS),
        (REF, failed(REF), Difference.OTHER_VERSION),
        (OLD, failed(REF, vectors=1), None),  # it failed for a reason of the moment
        (None, failed(REF, vectors=1), Difference.NOT_IN_INDEX),
        (None, replace(indexed_version(REF), state=VersionState.PLANNED, vectors=0), None),
        (REF, replace(indexed_version(REF), state=VersionState.PLANNED, vectors=0), Difference.NOT_IN_BOOK),
    ],
)
def test_each_difference_has_a_name_and_is_mended(
    index: MemoryIndex,
    ledger: SqlLedger,
    row: ObjectRef | None,
    entry: VersionEntry | None,
    difference: Difference | None,
) -> None:
    put_row(index, *([row] if row else []))
    ledger.book.write(GENERATION, [entry] if entry else [])
    found = verify(index, ledger)
    assert found.compared == 1
    assert [kind for kind, count in found.counts.items() if count] == ([difference] if difference else [])
    if difference:
        assert found.first_ids[difference] == [REF.image_id]
    assert verify(index, ledger).counts == found.counts, "looking changes nothing"
    assert verify(index, ledger, repair=True).differences == found.differences
    assert verify(index, ledger).differences == 0


def test_thousands_are_compared_and_mended(index: MemoryIndex, ledger: SqlLedger) -> None:
    refs = [ref_of(f"{number:05d}.jpg") for number in range(5000)]
    put_row(index, *refs[:4000])
    ledger.book.write(GENERATION, [indexed_version(ref) for ref in refs[1500:]])
    found = verify(index, ledger, repair=True)
    assert (found.compared, found.differences) == (5000, 2500)
    assert (found.counts[Difference.NOT_IN_BOOK], found.counts[Difference.NOT_IN_INDEX]) == (1500, 1000)
    assert [len(ids) for ids in found.first_ids.values()] == [5, 5, 0, 0]
    after = verify(index, ledger)
    assert (after.compared, after.differences) == (5000, 0), "what the index has lost is planned again"
    assert ledger.book.filled_to(GENERATION) is None, "all of the index has been entered"


def test_an_entry_under_a_foreign_id_is_named_and_nothing_is_repaired(
    index: MemoryIndex, ledger: SqlLedger, tmp_path: Path
) -> None:
    refs = [ref_of(f"{number}.jpg") for number in range(5)]
    put_row(index, *refs)
    ledger.book.write(GENERATION, [indexed_version(ref) for ref in refs])
    with sa.create_engine(f"sqlite:///{tmp_path}/ledger.db").begin() as connection:
        connection.execute(sa.text("UPDATE version SET image_id = 'ffff' WHERE key = '3.jpg'"))
    with pytest.raises(PictorError, match=r"entry ffff names '3\.jpg'"):
        verify(index, ledger, repair=True)
    assert ids_in(index, TARGET) == sorted(ref.image_id for ref in refs)
