"""Collections of vectors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.types import (
    CollectionInfo,
    IndexRow,
    ModelSpec,
    ObjectRef,
    SearchFilter,
    SearchHit,
)

MAX_HITS = 16_000  # per query: Milvus answers 16,384, less the room that ties need

# One object's user metadata as ASCII JSON. S3 allows 2 KB; escaped threefold it still fits a Milvus field.
MAX_METADATA_BYTES = 20_000


class VectorIndex(Protocol):
    """Collections of vectors, each bound to one model. Safe to share between threads."""

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        """Make the collection unless it is there; safe to run twice and from several processes.

        Raises:
            ModelMismatchError: it is there and bound to another fingerprint; both names in the message.
        """
        ...

    def get_collection(self, name: str) -> CollectionInfo | None: ...

    def check_model(self, name: str, model: ModelSpec) -> None:
        """Asked before each batch and search, so it costs nothing once a process knows the collection.

        Raises:
            ModelMismatchError: the collection is bound to another fingerprint; both names in the message.
            TargetError: it is not there.
        """
        ...

    def list_collections(self) -> list[CollectionInfo]: ...

    def drop_collection(self, name: str) -> None: ...

    def upsert(self, name: str, rows: Sequence[IndexRow]) -> None:
        """Write rows by id. The same rows twice leave the same index."""
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Safe to run twice."""
        ...

    def get_etags(self, name: str, ids: Sequence[str], *, latest: bool = True) -> Mapping[str, str]:
        """The stored version of each id that is there.

        Args:
            latest: as of all writes that returned before this call, whoever made them. Else of those before
                the last `create_collection`, and of later ones after some seconds; it costs a fraction.
        """
        ...

    def get_rows(self, name: str, ids: Sequence[str], *, latest: bool = True) -> list[IndexRow]:
        """The rows that are there, in the order of `ids`.

        Args:
            latest: as of all writes that returned before this call, whoever made them. Else as a search
                sees, which may lag behind the writes of other processes by seconds and costs a fraction.
        """
        ...

    def list_ids(self, name: str) -> Iterator[str]: ...

    def list_versions(self, name: str, *, start_after: str = "") -> Iterator[ObjectRef]:
        """The version of each image that has rows, in order of the image id, streamed in pages.

        It sees all writes that returned before this call, whoever made them.

        Args:
            start_after: an image id; only those behind it are listed.
        """
        ...

    def search(
        self,
        name: str,
        vectors: NDArray[np.float32],
        *,
        k: int,
        where: SearchFilter | None = None,
        min_score: float | None = None,
    ) -> list[list[SearchHit]]:
        """The `k` nearest rows of each vector, best first, ties by id.

        Args:
            vectors: [Q, D], unit length.
            k: 1..MAX_HITS.
            min_score: cosine; hits below it are left out.
        """
        ...

    def flush(self, name: str) -> None:
        """After a load: flush and wait for the index, so that the first search is as fast as the next."""
        ...
