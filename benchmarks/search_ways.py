"""The same question in four ways: by stored id and by vector, through Pictor and with pymilvus alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from benchmarks.clients import Ask
from benchmarks.synthetic import EndlessStore, FreeEmbedder
from pipeline.ports import ImageLimits, VectorIndex
from pipeline.search.query import Stored
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.models import ResidentModel
from pipeline.service.search import SearchPorts, SearchRequest, search_images
from pipeline.testing.memory_policies import MemoryPolicyBook

K = 10
SERVICE, BARE = "service, stored id", "pymilvus, stored id"
PORT, BARE_VECTOR = "index port, vector", "pymilvus, vector"
# What Pictor asks for by default: the same work for the server whoever asks.
SEARCH_PARAMS = {"metric_type": "COSINE", "params": {"ef": 256}}
FIELDS = ["id", "bucket", "key", "etag", "width", "height", "size_bytes", "indexed_at", "metadata"]


def search_ways(
    index: VectorIndex,
    client: MilvusClient,
    collection: str,
    ids: Sequence[str],
    vectors: NDArray[np.float32],
) -> dict[str, Ask]:
    """Args: `vectors` are those of the rows `ids`; the n-th question is about the n-th of both."""
    request = SearchRequest(collection=collection, k=K)
    models = ResidentModel(FreeEmbedder(), index)
    unrecorded = Accountability(log=None, policies=MemoryPolicyBook(), index=index)
    ports = SearchPorts(store=EndlessStore([b"none"], 0), index=index, answers_to=unrecorded, models=models)
    limits, caller = ImageLimits(), local_caller()

    def by_service(number: int) -> None:
        id_ = ids[number % len(ids)]
        [answer] = search_images([Stored(text=id_, id=id_)], request, ports, limits, caller)
        _check(len(answer.hits), answer.error)

    live = index.live(collection)

    def by_port(number: int) -> None:
        place = number % len(ids)
        _check(len(index.search(live, vectors[place : place + 1], k=K)[0]))

    def by_pymilvus(number: int) -> None:
        [row] = client.get(collection, ids=[ids[number % len(ids)]], output_fields=["embedding"])
        _check(len(_search(client, collection, row["embedding"])))

    def by_pymilvus_vector(number: int) -> None:
        _check(len(_search(client, collection, vectors[number % len(ids)])))

    return {SERVICE: by_service, BARE: by_pymilvus, PORT: by_port, BARE_VECTOR: by_pymilvus_vector}


def recall_of(
    index: VectorIndex, collection: str, queries: NDArray[np.float32], nearest_ids: Sequence[frozenset[str]]
) -> float:
    """Share of the true nearest that a search finds. `nearest_ids` has K of them for each query [Q, D]."""
    found = index.search(index.live(collection), queries, k=K)
    right = [len(true & {hit.id for hit in hits}) for true, hits in zip(nearest_ids, found, strict=True)]
    return sum(right) / (K * len(queries))


def _search(client: MilvusClient, collection: str, vector: Any) -> Any:
    [hits] = client.search(
        collection,
        [vector],
        anns_field="embedding",
        limit=K,
        search_params=SEARCH_PARAMS,
        output_fields=FIELDS,
    )
    return hits


def _check(hits: int, error: str = "") -> None:
    if hits != K:
        raise RuntimeError(f"{hits} hits instead of {K}; {error or 'no error was named'}")
