"""Requests about the rows of one generation, each of a size that a server takes."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus import rows as milvus_rows
from pipeline.adapters.milvus import schema
from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.catalog import MilvusCatalog
from pipeline.adapters.milvus.connection import MilvusConnection
from pipeline.adapters.milvus.filter import ids_expression
from pipeline.adapters.milvus.messages import Messages
from pipeline.errors import TransientError
from pipeline.ports.image_rows import MAX_VIEWS
from pipeline.types import CollectionRef, SearchHit

S = TypeVar("S", Sequence[str], NDArray[np.float32])

MESSAGE_BYTES = 16 * 2**20  # a quarter of the 64 MB that a server takes at most
ROWS_PER_CALL = 4096  # of the 16,384 that one query may return
IDS_PER_PAGE = 16_384  # the most there may be, because Milvus Lite reads the whole collection for each page
LATEST = "Strong"  # all writes that returned, whoever made them; waits for a time tick of the server, 200 ms
LAGGING = "Bounded"  # the rows that the query nodes have by now, never older than 5 s. Waits for nothing
STALENESS_S = 10.0  # "Bounded" reads may miss the last 5 s of writes; twice that to be sure
SETTLE_TIMEOUT_S = 600.0  # building HNSW over some million rows takes minutes
POLL_S = 0.2


class MilvusRequests:
    """Safe to share between threads."""

    def __init__(self, connection: MilvusConnection, catalog: MilvusCatalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._timeout_s = connection.timeout_s
        self._written_at: dict[CollectionRef, float] = {}  # monotonic, last write of this process

    def upsert(self, binding: Binding, entities: list[dict[str, Any]]) -> None:
        self._catalog.call(
            binding.ref,
            lambda client: client.upsert(binding.physical, entities, timeout=self._timeout_s),
        )
        self._written_at[binding.ref] = time.monotonic()

    def delete(self, binding: Binding, ids: Sequence[str]) -> None:
        for chunk in chunks(ids, ROWS_PER_CALL):
            self._delete_chunk(binding, ids_expression(chunk))

    def get(
        self, binding: Binding, ids: Sequence[str], fields: list[str], consistency: str
    ) -> Iterator[dict[str, Any]]:
        for chunk in chunks(ids, self._rows_per_call(binding, fields)):
            yield from self.query(binding, ids_expression(chunk), fields, consistency)

    def get_of_images(
        self, binding: Binding, image_ids: Sequence[str], fields: list[str], consistency: str
    ) -> Iterator[dict[str, Any]]:
        """The rows of images, in no order."""
        if not binding.has_views:
            yield from self.get(binding, image_ids, fields, consistency)
            return
        for chunk in chunks(image_ids, max(1, self._rows_per_call(binding, fields) // MAX_VIEWS)):
            yield from self.query(binding, ids_expression(chunk, field="image_id"), fields, consistency)

    def query(
        self, binding: Binding, expression: str, fields: list[str], consistency: str
    ) -> list[dict[str, Any]]:
        if consistency == LAGGING:
            return self._catalog.call(
                binding.ref,
                lambda client: Messages(client).query(
                    binding.physical, expression, fields, timeout_s=self._timeout_s
                ),
            )
        return list(
            self._catalog.call(
                binding.ref,
                lambda client: client.query(
                    binding.physical,
                    filter=expression,
                    output_fields=fields,
                    consistency_level=consistency,
                    timeout=self._timeout_s,
                ),
            )
        )

    def count(self, binding: Binding, expression: str, consistency: str) -> int:
        answer = self._catalog.call(
            binding.ref,
            lambda client: client.query(
                binding.physical,
                filter=expression,
                output_fields=["count(*)"],
                consistency_level=consistency,
                timeout=self._timeout_s,
            ),
        )
        return int(answer[0]["count(*)"])

    def search(
        self, binding: Binding, vectors: NDArray[np.float32], limit: int, expression: str, consistency: str
    ) -> list[list[SearchHit]]:
        typed = vectors.astype(milvus_rows.NUMPY_TYPES[binding.vector_type])
        if consistency == LAGGING:
            return self._catalog.call(
                binding.ref,
                lambda client: Messages(client).search(
                    binding.physical,
                    typed,
                    binding.vector_type,
                    limit=limit,
                    expression=expression,
                    timeout_s=self._timeout_s,
                ),
            )
        answers = self._catalog.call(
            binding.ref,
            lambda client: client.search(
                binding.physical,
                list(vectors.astype(milvus_rows.NUMPY_TYPES[binding.vector_type])),
                anns_field="embedding",
                filter=expression,
                limit=limit,
                search_params=schema.search_params(limit),
                output_fields=milvus_rows.SCALAR_FIELDS,
                consistency_level=consistency,
                timeout=self._timeout_s,
            ),
        )
        return [[milvus_rows.to_hit(hit["entity"], hit["distance"]) for hit in answer] for answer in answers]

    def freshness(self, ref: CollectionRef) -> str:
        """Consistency of a search: sees this process's own writes, and those of others after 5 s.

        "Session" waits for our last write only, so it serves while "Bounded" could miss that; "Strong" would
        wait for a time tick of the server in every search (200 ms instead of 4).
        """
        written_at = self._written_at.get(ref)
        recent = written_at is not None and time.monotonic() - written_at < STALENESS_S
        return "Session" if recent else LAGGING

    def wait_for_index(self, binding: Binding) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while pending := self._catalog.call(binding.ref, _pending_index_rows(binding, self._timeout_s)):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"collection {binding.name!r}: index not built after {SETTLE_TIMEOUT_S:.0f} s, "
                    f"{pending} rows pending"
                )
            time.sleep(POLL_S)

    def list_rows(self, binding: Binding, fields: list[str], *, where: str) -> Iterator[dict[str, Any]]:
        """In order of the ids, streamed in pages. It sees all writes that returned before this call."""
        self.query(binding, ids_expression([""]), ["id"], LATEST)  # iterators do not wait for writes: we do
        pages = self._catalog.call(
            binding.ref,
            lambda client: client.query_iterator(
                binding.physical,
                batch_size=IDS_PER_PAGE,
                filter=where,
                output_fields=fields,
                timeout=self._timeout_s,
            ),
        )
        return self._read_pages(binding.ref, pages)

    def _read_pages(self, ref: CollectionRef, pages: Any) -> Iterator[dict[str, Any]]:
        try:
            while page := self._connection.run(pages.next, collection=ref.name):
                yield from page
        finally:
            pages.close()

    def _delete_chunk(self, binding: Binding, expression: str) -> None:
        self._catalog.call(
            binding.ref,
            lambda client: client.delete(binding.physical, filter=expression, timeout=self._timeout_s),
        )
        self._written_at[binding.ref] = time.monotonic()

    def _rows_per_call(self, binding: Binding, fields: list[str]) -> int:
        if "embedding" not in fields:
            return ROWS_PER_CALL
        return max(1, min(ROWS_PER_CALL, MESSAGE_BYTES // milvus_rows.usual_row_bytes(binding.dim)))


def _pending_index_rows(binding: Binding, timeout_s: float) -> Callable[[Any], int]:
    return lambda client: int(
        client.describe_index(binding.physical, "embedding", timeout=timeout_s)["pending_index_rows"]
    )


def chunks(values: S, size: int) -> Iterator[S]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def message_spans(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Cut a list of images into spans that each fit into one message, whatever their keys and metadata.

    Args:
        sizes: rows and bytes of each image.
    """
    start, rows, total_bytes = 0, 0, 0
    for place, (image_rows, size_bytes) in enumerate(sizes):
        if place > start and (total_bytes + size_bytes > MESSAGE_BYTES or rows + image_rows > ROWS_PER_CALL):
            yield start, place
            start, rows, total_bytes = place, 0, 0
        rows, total_bytes = rows + image_rows, total_bytes + size_bytes
    if rows:
        yield start, len(sizes)
