"""The index of vectors: a folder of Milvus Lite or a server, and the users of the server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from pipeline.ports import VectorIndex
from pipeline.settings import Settings
from pipeline.wiring.home import make_home


class OpenIndex(VectorIndex, AbstractContextManager[Any], Protocol):
    """An index of this process, to be closed."""

    def server_version(self) -> str: ...

    def close(self) -> None: ...


def open_index(settings: Settings) -> OpenIndex:
    from pipeline.adapters.beside.index import OpenBesideIndex

    return OpenBesideIndex(_open_index_of_one(settings))


def _open_index_of_one(settings: Settings) -> OpenIndex:
    """Of one embedding of each image."""
    from pipeline.adapters.milvus.lite.folder import is_lite

    make_home(settings)
    if is_lite(settings.milvus_target):
        from pipeline.adapters.milvus.lite.index import LiteIndex

        return LiteIndex(
            settings.milvus_target, vector_type=settings.vector_type, precision=settings.precision
        )
    from pipeline.adapters.milvus.index import MilvusIndex

    return MilvusIndex(
        settings.milvus_target,
        token=settings.milvus_token.get_secret_value(),
        vector_type=settings.vector_type,
        precision=settings.precision,
        ca_file=settings.milvus_ca_file,
    )


@contextmanager
def open_index_of_loads(
    settings: Settings, index: OpenIndex, *, open_another: Callable[[Settings], OpenIndex] = open_index
) -> Iterator[OpenIndex]:
    """For jobs of a process whose searches go through `index`: a connection of its own to a Milvus server.

    A connection waits in each search for the rows that it has written itself: 0.2 s and more, as long as a
    job writes. A folder is open once only, and its searches wait for nothing.
    """
    from pipeline.adapters.milvus.lite.folder import is_lite

    if is_lite(settings.milvus_target):
        yield index
        return
    with open_another(settings) as another:
        yield another


def make_index_users(settings: Settings) -> dict[str, str]:
    """Make the Milvus users that are configured. Returns their names, by whose they are."""
    from pipeline.adapters.milvus.worker_role import make_service_role, make_worker_role

    users = {
        "workers": (make_worker_role, settings.milvus_worker_token.get_secret_value()),
        "HTTP service": (make_service_role, settings.milvus_service_token.get_secret_value()),
    }
    return {
        whose: make(
            settings.milvus_target,
            owner_token=settings.milvus_token.get_secret_value(),
            token=token,
            ca_file=settings.milvus_ca_file,
        )
        for whose, (make, token) in users.items()
        if token
    }
