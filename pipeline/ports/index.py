"""Collections of vectors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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


class VectorIndex(Protocol):
    """Collections of vectors. Safe to share between threads.

    A collection has one generation for each model that filled it, and one of them is live. Whoever searches
    asks for the live one. Whoever writes says which one, so that several can be filled beside each other.

    The model of a generation may have others beside it (`ModelSpec.beside`). Then each image has one more
    embedding of each of them, which `search` and `get_rows` call by its name. An image counts as stored in a
    version when all its embeddings are of that version.
    """

    def create_collection(self, name: str, model: ModelSpec) -> CollectionInfo:
        """Make the collection unless it is there; safe to run twice and from several processes.

        Returns:
            Its live generation.

        Raises:
            ModelMismatchError: that is another model's. Both names in the message.
        """
        ...

    def open_generation(self, name: str, model: ModelSpec) -> CollectionInfo:
        """Make the generation of this model unless it is there. The first one of a collection is live.

        Safe to run twice and from several processes.

        Raises:
            ModelMismatchError: the fingerprint of another generation begins with the same eight digits.
        """
        ...

    def promote(self, ref: CollectionRef) -> None:
        """Make this generation the live one: each search sees the former or this one, and nothing between.

        Safe to run twice and from several processes. Those that have asked for the live one within the last
        seconds may go on with the former.
        """
        ...

    def drop_generation(self, ref: CollectionRef) -> None:
        """Delete a generation and its rows.

        Raises:
            ConflictError: it is the live one.
            TargetError: it is not there.
        """
        ...

    def drop_collection(self, name: str) -> None:
        """Delete all generations. Raises TargetError: there is no such collection."""
        ...

    def live(self, name: str, *, latest: bool = False) -> CollectionRef:
        """The generation that answers searches.

        Args:
            latest: as of now. Else as of some seconds ago, at most, and it costs nothing for most calls.

        Raises:
            TargetError: there is no such collection.
        """
        ...

    def get_collection(self, name: str) -> CollectionInfo | None:
        """The live generation, as of now."""
        ...

    def get_generation(self, ref: CollectionRef) -> CollectionInfo | None: ...

    def list_collections(self) -> list[CollectionInfo]:
        """The live generation of each, by name."""
        ...

    def list_generations(self, name: str) -> list[CollectionInfo]:
        """By fingerprint. Empty when there is no such collection."""
        ...

    def check_generation(self, ref: CollectionRef) -> None:
        """Asked before each batch, so it costs nothing once a process knows the generation.

        All that follows raises these errors, too.

        Raises:
            ModelMismatchError: the collection has generations of other models only.
            TargetError: there is no such collection.
        """
        ...

    def model_of(self, ref: CollectionRef) -> BoundModel:
        """The model of a generation. It costs as little: no row is counted."""
        ...

    def replace_images(self, ref: CollectionRef, images: Mapping[str, Sequence[IndexRow]]) -> None:
        """Write the rows of images in the place of all that are there of them. Safe to run twice.

        A process that is killed meanwhile may leave rows of two versions of an image. `get_versions` tells,
        and the next call puts it right.

        Args:
            images: rows by image id. A model of whole images has one row of each, whose id is the image id.
                Another has 0 to MAX_VIEWS, whose ids are those of `image_rows.view_row_id`, in order.

        Raises:
            ConfigError: an image has other rows than these, or a row has other embeddings than the
                generation, or a vector is of another length. Nothing is written.
        """
        ...

    def delete_images(self, ref: CollectionRef, image_ids: Sequence[str]) -> None:
        """Delete all rows of these images. Safe to run twice."""
        ...

    def get_versions(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, StoredVersion]:
        """The stored version of each image that has rows, by image id.

        Args:
            latest: as of all writes that returned before this call, whoever made them. Else of those before
                the last `create_collection`, and of later ones after some seconds. It costs a fraction.
        """
        ...

    def get_images(
        self, ref: CollectionRef, image_ids: Sequence[str], *, latest: bool = True
    ) -> Mapping[str, Sequence[IndexRow]]:
        """The rows of each image that has any, by image id and in order. `latest` as for `get_rows`.

        They have all embeddings. An image whose embeddings are not all of one version is left out.
        """
        ...

    def get_rows(
        self, ref: CollectionRef, ids: Sequence[str], *, latest: bool = True, embedding: str = ""
    ) -> list[IndexRow]:
        """The rows that are there, in the order of `ids`.

        Args:
            ids: of rows.
            latest: as of all writes that returned before this call, whoever made them. Else what a search
                sees, which may lag behind the writes of other processes by seconds and costs a fraction.
            embedding: by its name; "" is the first. The rows have its vectors.

        Raises:
            ArgumentError: there is no such embedding. Those there are are named.
        """
        ...

    def list_images(self, ref: CollectionRef, *, start_after: str = "") -> Iterator[IndexedImage]:
        """Each image that has rows, in order of the image id, streamed in pages.

        It sees all writes that returned before this call, whoever made them.

        Args:
            start_after: an image id. Only those behind it are listed.
        """
        ...

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
        """The `k` nearest rows of each vector, best first, ties by id.

        Args:
            vectors: [Q, D], unit length.
            k: 1..MAX_HITS.
            min_score: cosine. Hits below it are left out.
            embedding: as for `get_rows`.
        """
        ...

    def flush(self, ref: CollectionRef) -> None:
        """After a load: flush and wait for the index, so that the first search is as fast as the next."""
        ...
