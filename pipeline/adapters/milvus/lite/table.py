"""The rows of a copy at one moment, as arrays, and the values that are read from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus.lite.metadata_line import read_metadata
from pipeline.adapters.milvus.rows import EPOCH, MICROSECOND
from pipeline.search.ranking import one_of_each_image
from pipeline.types import IndexedImage, IndexRow, ObjectRef, SearchHit

RECORD = np.dtype(
    [
        ("id", "S64"),
        ("width", "<i8"),
        ("height", "<i8"),
        ("size_bytes", "<i8"),
        ("indexed_at", "<i8"),  # microseconds since 1970
        ("text_start", "<i8"),
        ("metadata_start", "<i8"),
        ("bucket_bytes", "<u4"),
        ("key_bytes", "<u4"),
        ("etag_bytes", "<u4"),
        ("metadata_bytes", "<u4"),
        ("inverse_length", "<f4"),  # of the vector: 1 or nearly, 0 for a vector of zeros
        ("spare", "<u4"),  # so that the numbers of all records lie aligned
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Arrays over N slots. They are mapped files, so only touched pages are read."""

    records: NDArray[Any]  # [N] of RECORD
    vectors: NDArray[np.float32]  # [N, D]
    live: NDArray[np.bool_]  # [N]; False: the row was replaced or deleted
    texts: NDArray[np.uint8]
    metadata: NDArray[np.uint8]

    def etags(self, slots: Sequence[int]) -> Iterator[tuple[str, str]]:
        """Row ids, and the ETag of each."""
        records = (self.records[slot] for slot in slots)
        return ((record["id"].decode(), self._texts(record)[2]) for record in records)

    def images(self, start_after: str) -> Iterator[IndexedImage]:
        """In order of the image ids."""
        slots = np.flatnonzero(self.live)
        slots = slots[np.argsort(self.records["id"][slots])]
        images = one_of_each_image(map(self.ref, slots.tolist()))
        return (image for image in images if image.ref.image_id > start_after)

    def ref(self, slot: int) -> ObjectRef:
        record = self.records[slot]
        bucket, key, etag = self._texts(record)
        return ObjectRef(bucket=bucket, key=key, etag=etag, size_bytes=int(record["size_bytes"]))

    def row(self, slot: int) -> IndexRow:
        record = self.records[slot]
        return IndexRow(
            id=record["id"].decode(),
            ref=self.ref(slot),
            vector=np.array(self.vectors[slot], dtype=np.float32),
            width=int(record["width"]),
            height=int(record["height"]),
            indexed_at=EPOCH + int(record["indexed_at"]) * MICROSECOND,
            metadata=self._metadata(record),
        )

    def hit(self, slot: int, score: float) -> SearchHit:
        record = self.records[slot]
        bucket, key, etag = self._texts(record)
        return SearchHit(
            id=record["id"].decode(),
            bucket=bucket,
            key=key,
            etag=etag,
            score=score,
            width=int(record["width"]),
            height=int(record["height"]),
            size_bytes=int(record["size_bytes"]),
            indexed_at=EPOCH + int(record["indexed_at"]) * MICROSECOND,
            metadata=self._metadata(record),
        )

    def _texts(self, record: Any) -> tuple[str, str, str]:
        start = int(record["text_start"])
        key_start = start + int(record["bucket_bytes"])
        etag_start = key_start + int(record["key_bytes"])
        end = etag_start + int(record["etag_bytes"])
        content = self.texts[start:end].tobytes()
        return (
            content[: key_start - start].decode(),
            content[key_start - start : etag_start - start].decode(),
            content[etag_start - start :].decode(),
        )

    def _metadata(self, record: Any) -> dict[str, str]:
        start = int(record["metadata_start"])
        return read_metadata(self.metadata[start : start + int(record["metadata_bytes"])].tobytes())
