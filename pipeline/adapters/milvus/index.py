"""VectorIndex on Milvus, a server or Milvus Lite: rows and searches. See `generations` for the rest."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.milvus import rows as milvus_rows
from pipeline.adapters.milvus.binding import Binding
from pipeline.adapters.milvus.catalog import MilvusCatalog
from pipeline.adapters.milvus.connection import MilvusConnection, MissingCollectionError
from pipeline.adapters.milvus.filter import string_literal, to_expression
from pipeline.adapters.milvus.generations import MilvusGenerations
from pipeline.adapters.milvus.requests import (
    LAGGING,
    LATEST,
    SETTLE_TIMEOUT_S,
    MilvusRequests,
    chunks,
    message_spans,
)
from pipeline.adapters.milvus.ties import MAX_LIMIT, rank
from pipeline.errors import TargetError
from pipeline.ports.image_rows import check_rows, rows_by_image, stale_row_ids, stored_versions
from pipeline.ports.model_binding import check_first, missing_collection
from pipeline.search.ranking import check_query, one_of_each_image
from pipeline.types import (
    BoundModel,
    CollectionInfo,
    CollectionRef,
    IndexedImage,
    IndexRow,
    ModelSpec,
    SearchFilter,
    SearchHit,
    StoredVersion,
)

HITS_PER_CALL = 10_000  # over all vectors of one call: some megabytes
# Extra hits: a small group of equal scores around the k-th place costs no second question. Each costs every
# search some 20 µs of CPU here, and as much in Milvus. Two equal rows are common: a picture and its copy.
TIE_ROOM = 2
LIVE_TTL_S = 5.0  # a search may miss the last 5 s of writes, so it may miss a promotion of that time, too


class MilvusIndex:
    """Safe to share between threads.

    Args:
        uri: URL of a server, or the path of a Milvus Lite directory, which is made if need be.
        token: `user:password` or API key.
        vector_type: of collections made from now on, "float32" or "float16".
        precision: for their record. See `CollectionInfo`.
        timeout_s: longest wait for one answer.
        ca_file: of the authorities to trust where the URI is `https://…`. "" are those of this machine.
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
        self._requests = MilvusRequests(self._connection, self._catalog)

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
        return self._to_info(self._generations.create(name, model), LATEST, live=True)

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
        return self._to_info_if_there(self._catalog.find_live(name), live=True)

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

    def model_of(self, ref: CollectionRef) -> BoundModel:
        return self._catalog.get(ref).model

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        binding = self._catalog.get(ref)
        check_rows(ref.name, images, has_views=binding.has_views)
        # Those of one image go into one message, which is written as a whole: without the last of its rows,
        # an image that is new would look complete.
        entities = [[milvus_rows.to_entity(row, binding) for row in rows] for rows in images.values()]
        sizes = [(len(of_image), sum(map(milvus_rows.entity_bytes, of_image))) for of_image in entities]
        for start, end in message_spans(sizes):
            self._requests.upsert(binding, list(chain.from_iterable(entities[start:end])))
        stale = stale_row_ids(images, partial(self._row_ids, binding), has_views=binding.has_views)
        self._requests.delete(binding, stale)

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        binding = self._catalog.get(ref)
        self._requests.delete(binding, self._row_ids(binding, image_ids))

    def get_versions(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, StoredVersion]:
        binding = self._catalog.get(ref)
        entities = self._requests.get_of_images(
            binding, image_ids, ["id", "etag"], LATEST if latest else LAGGING
        )
        return stored_versions((entity["id"], entity["etag"]) for entity in entities)

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        binding = self._catalog.get(ref)
        consistency = LATEST if latest else self._requests.freshness(ref)
        entities = self._requests.get_of_images(binding, image_ids, milvus_rows.ALL_FIELDS, consistency)
        return rows_by_image(map(milvus_rows.to_row, sorted(entities, key=lambda entity: str(entity["id"]))))

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        binding = self._catalog.get(ref)
        check_first(ref.name, embedding)
        consistency = LATEST if latest else self._requests.freshness(ref)
        entities = self._requests.get(binding, ids, milvus_rows.ALL_FIELDS, consistency)
        by_id = {entity["id"]: entity for entity in entities}
        return [milvus_rows.to_row(by_id[id_]) for id_ in ids if id_ in by_id]

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        binding = self._catalog.get(ref)
        # Iterators go by id. Rows of an image are "<image id>" and "<image id>:NN"; ";" comes behind ":".
        behind = f"id > {string_literal(start_after + ';')}" if start_after else ""
        entities = self._requests.list_rows(binding, milvus_rows.VERSION_FIELDS, where=behind)
        return one_of_each_image(map(milvus_rows.to_ref, entities))

    def search(
        self,
        ref: CollectionRef,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
        embedding: str = "",
    ) -> list[list[SearchHit]]:
        binding = self._catalog.get(ref)
        check_first(ref.name, embedding)
        check_query(ref.name, binding.dim, vectors, k)
        expression = to_expression(where)
        limit = min(k + TIE_ROOM, MAX_LIMIT)
        found: list[list[SearchHit]] = []
        for chunk in chunks(vectors, max(1, HITS_PER_CALL // limit)):
            answers = self._requests.search(binding, chunk, limit, expression, self._requests.freshness(ref))
            found += [
                rank(
                    hits,
                    limit=limit,
                    k=k,
                    min_score=min_score,
                    question=_Question(self._requests, binding, vector, expression),
                )
                for vector, hits in zip(chunk, answers, strict=True)
            ]
        return found

    def flush(self, ref: CollectionRef) -> None:
        binding = self._catalog.get(ref)
        self._catalog.call(ref, lambda client: client.flush(binding.physical, timeout=SETTLE_TIMEOUT_S))
        if not self._connection.lite:  # there the flush was all, and it says "finished" always
            self._requests.wait_for_index(binding)
        # "Strong" makes every query node catch up, so that other processes find all of it from here on;
        # and the first search after a flush reads the new segments.
        anything = np.ones((1, binding.dim), dtype=np.float32)
        self._requests.search(binding, anything, 1, "", LATEST)

    def _to_info(self, binding: Binding, consistency: str, *, live: bool | None = None) -> CollectionInfo:
        """Args: `live`: whether it is the live one. None where that has to be asked."""
        rows = self._requests.count(binding, "", consistency)
        return binding.to_info(rows, live=self._catalog.is_live(binding.ref) if live is None else live)

    def _to_info_if_there(
        self, binding: Binding | None, *, live: bool | None = None
    ) -> CollectionInfo | None:
        if binding is None:
            return None
        try:
            return self._to_info(binding, self._requests.freshness(binding.ref), live=live)
        except TargetError:
            return None  # dropped in between

    def _row_ids(self, binding: Binding, image_ids: Sequence[str]) -> list[str]:
        if not binding.has_views:
            return list(image_ids)
        return [entity["id"] for entity in self._requests.get_of_images(binding, image_ids, ["id"], LATEST)]


class _Question:
    """A search for one vector, to be asked again for other numbers of hits and under further conditions."""

    def __init__(
        self, requests: MilvusRequests, binding: Binding, vector: NDArray[np.float32], expression: str
    ) -> None:
        self._requests = requests
        self._binding = binding
        self._vectors = vector[None]
        self._expression = expression

    def ask(self, limit: int, condition: str) -> list[SearchHit]:
        consistency = self._requests.freshness(self._binding.ref)
        return self._requests.search(self._binding, self._vectors, limit, self._also(condition), consistency)[
            0
        ]

    def count(self, condition: str) -> int:
        consistency = self._requests.freshness(self._binding.ref)
        return self._requests.count(self._binding, self._also(condition), consistency)

    def _also(self, condition: str) -> str:
        return " and ".join(filter(None, (self._expression, condition)))
