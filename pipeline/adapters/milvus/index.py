"""VectorIndex on Milvus, a server or Milvus Lite: rows and searches. See `generations` for the rest."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus import rows as milvus_rows
from pipeline.adapters.milvus import schema
from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.catalog import MilvusCatalog
from pipeline.adapters.milvus.connection import MilvusConnection, MissingCollectionError
from pipeline.adapters.milvus.filter import ids_expression, string_literal, to_expression
from pipeline.adapters.milvus.generations import MilvusGenerations
from pipeline.adapters.milvus.ties import MAX_LIMIT, rank
from pipeline.errors import TargetError, TransientError
from pipeline.ports.image_rows import MAX_VIEWS, check_rows, rows_by_image, stored_versions
from pipeline.ports.model_binding import missing_collection
from pipeline.search.ranking import check_query, one_of_each_image
from pipeline.types import (
    CollectionInfo,
    CollectionRef,
    IndexedImage,
    IndexRow,
    ModelSpec,
    SearchFilter,
    SearchHit,
    StoredVersion,
)

S = TypeVar("S", Sequence[str], NDArray[np.float32])

MESSAGE_BYTES = 16 * 2**20  # a quarter of the 64 MB that a server takes at most
ROWS_PER_CALL = 4096  # of the 16,384 that one query may return
IDS_PER_PAGE = 16_384  # the most there may be, because Milvus Lite reads the whole collection for each page
HITS_PER_CALL = 10_000  # over all vectors of one call: some megabytes
TIE_ROOM = 16  # extra hits: a small group of equal scores around the k-th place costs no second question
LATEST = "Strong"  # all writes that returned, whoever made them; waits for a time tick of the server, 200 ms
LAGGING = "Bounded"  # the rows that the query nodes have by now, never older than 5 s. Waits for nothing
LIVE_TTL_S = 5.0  # a search may miss the last 5 s of writes, so it may miss a promotion of that time, too
STALENESS_S = 10.0  # "Bounded" reads may miss the last 5 s of writes; twice that to be sure
SETTLE_TIMEOUT_S = 600.0  # building HNSW over some million rows takes minutes
POLL_S = 0.2


class MilvusIndex:
    """Safe to share between threads.

    Args:
        uri: URL of a server, or the path of a Milvus Lite directory, which is made if need be.
        token: `user:password` or API key.
        vector_type: of collections made from now on, "float32" or "float16".
        precision: for their record; see `CollectionInfo`.
        timeout_s: longest wait for one answer.
        ca_file: of the authorities to trust where the URI is `https://…`; "" are those of this machine.
        live_ttl_s: how long it believes that a generation is live.

    Raises:
        ConfigError: another process has the directory open, or it cannot be used; or the server's
            certificate is not to be trusted.
    """

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        vector_type: str = "float32",
        precision: str = "auto",
        timeout_s: float = 30.0,
        ca_file: str = "",
        live_ttl_s: float = LIVE_TTL_S,
    ) -> None:
        self._connection = MilvusConnection(uri, token=token, timeout_s=timeout_s, ca_file=ca_file)
        self._catalog = MilvusCatalog(self._connection, live_ttl_s=live_ttl_s)
        self._generations = MilvusGenerations(
            self._connection, self._catalog, vector_type=vector_type, precision=precision
        )
        self._timeout_s = timeout_s
        self._written_at: dict[CollectionRef, float] = {}  # monotonic, last write of this process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection; with Milvus Lite also the directory, for the next process."""
        self._connection.close()

    def server_version(self) -> str:
        return self._connection.server_version()

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        # Read with "Strong", so that lagging reads after it, of whatever process, have seen all until here.
        return self._to_info(self._generations.create(name, model), LATEST)

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        return self._to_info(self._generations.open(name, model), LATEST)

    def promote(self, ref: CollectionRef) -> None:
        self._generations.promote(ref)

    def drop_generation(self, ref: CollectionRef) -> None:
        self._generations.drop(ref)

    def drop_collection(self, name: str) -> None:
        self._generations.drop_all(name)

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        binding = self._catalog.find_live(name) if latest else self._catalog.live(name)
        if binding is None:
            raise MissingCollectionError(missing_collection(name))
        return binding.ref

    def get_collection(self, name: str) -> CollectionInfo | None:
        return self._to_info_if_there(self._catalog.find_live(name))

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None:
        return self._to_info_if_there(self._catalog.find(ref))

    def list_collections(self) -> list[CollectionInfo]:
        found = (self.get_collection(name) for name in self._catalog.list_names())
        return [info for info in found if info is not None]

    def list_generations(self, name: str) -> list[CollectionInfo]:
        found = map(self._to_info_if_there, self._catalog.list_generations(name))
        return [info for info in found if info is not None]

    def check_generation(self, ref: CollectionRef) -> None:
        self._catalog.get(ref)

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        binding = self._catalog.get(ref)
        check_rows(ref.name, images, has_views=binding.has_views)
        # Those of one image go into one message, which is written as a whole: without the last of its rows,
        # an image that is new would look complete.
        entities = [[milvus_rows.to_entity(row, binding) for row in rows] for rows in images.values()]
        sizes = [(len(of_image), sum(map(milvus_rows.entity_bytes, of_image))) for of_image in entities]
        for start, end in _message_spans(sizes):
            self._upsert_chunk(binding, list(chain.from_iterable(entities[start:end])))
        self._delete_rows(binding, self._stale_ids(binding, images))

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        binding = self._catalog.get(ref)
        self._delete_rows(binding, self._row_ids(binding, image_ids))

    def get_versions(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, StoredVersion]:
        binding = self._catalog.get(ref)
        entities = self._get_of_images(binding, image_ids, ["id", "etag"], LATEST if latest else LAGGING)
        return stored_versions((entity["id"], entity["etag"]) for entity in entities)

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        binding = self._catalog.get(ref)
        consistency = LATEST if latest else self._freshness(ref)
        entities = self._get_of_images(binding, image_ids, milvus_rows.ALL_FIELDS, consistency)
        return rows_by_image(map(milvus_rows.to_row, sorted(entities, key=lambda entity: str(entity["id"]))))

    def get_rows(self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True) -> list[IndexRow]:
        binding = self._catalog.get(ref)
        consistency = LATEST if latest else self._freshness(ref)
        entities = self._get(binding, ids, milvus_rows.ALL_FIELDS, consistency)
        by_id = {entity["id"]: entity for entity in entities}
        return [milvus_rows.to_row(by_id[id_]) for id_ in ids if id_ in by_id]

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        binding = self._catalog.get(ref)
        self._query(binding, ids_expression([""]), ["id"], LATEST)  # iterators do not wait for writes: we do
        # Iterators go by id. Rows of an image are "<image id>" and "<image id>:NN"; ";" comes behind ":".
        behind = f"id > {string_literal(start_after + ';')}" if start_after else ""
        pages = self._catalog.call(
            ref,
            lambda client: client.query_iterator(
                binding.physical,
                batch_size=IDS_PER_PAGE,
                filter=behind,
                output_fields=milvus_rows.VERSION_FIELDS,
                timeout=self._timeout_s,
            ),
        )
        return one_of_each_image(milvus_rows.to_ref(entity) for entity in self._read_pages(ref, pages))

    def search(
        self,
        ref: CollectionRef,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
    ) -> list[list[SearchHit]]:
        binding = self._catalog.get(ref)
        check_query(ref.name, binding.dim, vectors, k)
        expression = to_expression(where)
        limit = min(k + TIE_ROOM, MAX_LIMIT)
        found: list[list[SearchHit]] = []
        for chunk in _chunks(vectors, max(1, HITS_PER_CALL // limit)):
            answers = self._search(binding, chunk, limit, expression, self._freshness(ref))
            found += [
                rank(
                    hits,
                    limit=limit,
                    k=k,
                    min_score=min_score,
                    question=_Question(self, binding, vector, expression),
                )
                for vector, hits in zip(chunk, answers, strict=True)
            ]
        return found

    def flush(self, ref: CollectionRef) -> None:
        binding = self._catalog.get(ref)
        self._catalog.call(ref, lambda client: client.flush(binding.physical, timeout=SETTLE_TIMEOUT_S))
        if not self._connection.lite:  # there the flush was all, and it says "finished" always
            self._wait_for_index(binding)
        # "Strong" makes every query node catch up, so that other processes find all of it from here on;
        # and the first search after a flush reads the new segments.
        anything = np.ones((1, binding.dim), dtype=np.float32)
        self._search(binding, anything, 1, "", LATEST)

    def _to_info(self, binding: Binding, consistency: str) -> CollectionInfo:
        rows, live = self._count(binding, "", consistency), self._catalog.find_live(binding.name)
        return binding.to_info(rows, live=live is not None and live.ref == binding.ref)

    def _to_info_if_there(self, binding: Binding | None) -> CollectionInfo | None:
        try:
            return self._to_info(binding, self._freshness(binding.ref)) if binding else None
        except TargetError:
            return None  # dropped in between

    def _count(self, binding: Binding, expression: str, consistency: str) -> int:
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

    def _upsert_chunk(self, binding: Binding, entities: list[dict[str, Any]]) -> None:
        self._catalog.call(
            binding.ref,
            lambda client: client.upsert(binding.physical, entities, timeout=self._timeout_s),
        )
        self._written_at[binding.ref] = time.monotonic()

    def _delete_rows(self, binding: Binding, ids: Sequence[str]) -> None:
        for chunk in _chunks(ids, ROWS_PER_CALL):
            self._delete_chunk(binding, ids_expression(chunk))

    def _delete_chunk(self, binding: Binding, expression: str) -> None:
        self._catalog.call(
            binding.ref,
            lambda client: client.delete(binding.physical, filter=expression, timeout=self._timeout_s),
        )
        self._written_at[binding.ref] = time.monotonic()

    def _stale_ids(self, binding: Binding, images: Mapping[str, Sequence[IndexRow]]) -> list[str]:
        """Rows of these images that are not among the new ones."""
        if not binding.has_views:
            return [image_id for image_id, rows in images.items() if not rows]
        new = {row.id for rows in images.values() for row in rows}
        return [row_id for row_id in self._row_ids(binding, list(images)) if row_id not in new]

    def _row_ids(self, binding: Binding, image_ids: Sequence[str]) -> list[str]:
        if not binding.has_views:
            return list(image_ids)
        return [entity["id"] for entity in self._get_of_images(binding, image_ids, ["id"], LATEST)]

    def _get_of_images(
        self, binding: Binding, image_ids: Sequence[str], fields: list[str], consistency: str
    ) -> Iterator[dict[str, Any]]:
        """The rows of images, in no order."""
        if not binding.has_views:
            yield from self._get(binding, image_ids, fields, consistency)
            return
        for chunk in _chunks(image_ids, max(1, self._rows_per_call(binding, fields) // MAX_VIEWS)):
            yield from self._query(binding, ids_expression(chunk, field="image_id"), fields, consistency)

    def _get(
        self, binding: Binding, ids: Sequence[str], fields: list[str], consistency: str
    ) -> Iterator[dict[str, Any]]:
        for chunk in _chunks(ids, self._rows_per_call(binding, fields)):
            yield from self._query(binding, ids_expression(chunk), fields, consistency)

    def _rows_per_call(self, binding: Binding, fields: list[str]) -> int:
        if "embedding" not in fields:
            return ROWS_PER_CALL
        return max(1, min(ROWS_PER_CALL, MESSAGE_BYTES // milvus_rows.usual_row_bytes(binding.dim)))

    def _query(
        self, binding: Binding, expression: str, fields: list[str], consistency: str
    ) -> list[dict[str, Any]]:
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

    def _read_pages(self, ref: CollectionRef, pages: Any) -> Iterator[dict[str, Any]]:
        try:
            while page := self._connection.run(pages.next, collection=ref.name):
                yield from page
        finally:
            pages.close()

    def _search(
        self, binding: Binding, vectors: NDArray[np.float32], limit: int, expression: str, consistency: str
    ) -> list[list[SearchHit]]:
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

    def _freshness(self, ref: CollectionRef) -> str:
        """Consistency of a search: sees this process's own writes, and those of others after 5 s.

        "Session" waits for our last write only, so it serves while "Bounded" could miss that; "Strong" would
        wait for a time tick of the server in every search (200 ms instead of 4).
        """
        written_at = self._written_at.get(ref)
        recent = written_at is not None and time.monotonic() - written_at < STALENESS_S
        return "Session" if recent else LAGGING

    def _wait_for_index(self, binding: Binding) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while pending := self._catalog.call(binding.ref, _pending_index_rows(binding, self._timeout_s)):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"collection {binding.name!r}: index not built after {SETTLE_TIMEOUT_S:.0f} s, "
                    f"{pending} rows pending"
                )
            time.sleep(POLL_S)


class _Question:
    """A search for one vector, to be asked again for other numbers of hits and under further conditions."""

    def __init__(
        self, index: MilvusIndex, binding: Binding, vector: NDArray[np.float32], expression: str
    ) -> None:
        self._index = index
        self._binding = binding
        self._vectors = vector[None]
        self._expression = expression

    def ask(self, limit: int, condition: str) -> list[SearchHit]:
        consistency = self._index._freshness(self._binding.ref)
        return self._index._search(self._binding, self._vectors, limit, self._also(condition), consistency)[0]

    def count(self, condition: str) -> int:
        consistency = self._index._freshness(self._binding.ref)
        return self._index._count(self._binding, self._also(condition), consistency)

    def _also(self, condition: str) -> str:
        return " and ".join(filter(None, (self._expression, condition)))


def _pending_index_rows(binding: Binding, timeout_s: float) -> Callable[[Any], int]:
    return lambda client: int(
        client.describe_index(binding.physical, "embedding", timeout=timeout_s)["pending_index_rows"]
    )


def _chunks(values: S, size: int) -> Iterator[S]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _message_spans(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
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
