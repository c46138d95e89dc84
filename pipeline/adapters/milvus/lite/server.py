"""Milvus Lite as this process serves it to itself."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, TransientError

_SOCKET = "milvus"
_MAX_FOLDER_BYTES = 107 - len("/pictor-12345678/") - len(_SOCKET)


class LiteServer:
    """Milvus Lite on a socket of this user, for as long as the directory is open.

    It asks for no password, so on a port of the loopback every user of the machine could read and write.
    """

    def __init__(self, path: str) -> None:
        try:
            self._room = Path(tempfile.mkdtemp(prefix="pictor-", dir=_folder_of_sockets()))
        except OSError as err:
            raise ConfigError(f"{path}: no folder for temporary files ({err.strerror}); set TMPDIR") from err
        socket = self._room / _SOCKET
        try:
            self._server, self._engine = _start_lite(path, socket)
        except BaseException:
            shutil.rmtree(self._room, ignore_errors=True)
            raise
        self.url = f"unix:{socket}"

    def close(self) -> None:
        self._server.stop(grace=2).wait()  # the socket and its threads are gone before the files are
        self._engine.close()
        shutil.rmtree(self._room, ignore_errors=True)


def _start_lite(path: str, socket: Path) -> tuple[Any, Any]:
    """The gRPC server and the engine behind it."""
    # Imported late: faiss and pyarrow take most of a second, and workers with a server need neither.
    from milvus_lite import DataDirLockedError, MilvusLiteError
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # The library joins host and port with a colon, and gRPC takes what that makes.
        server, engine, _ = start_server_in_thread(str(Path(path).resolve()), host="unix", port=socket)
        return server, engine
    except DataDirLockedError as err:
        raise TransientError(
            f"{path}: another pictor process has the index open, perhaps `pictor serve`; wait for it, "
            "or use a Milvus server (PICTOR_MILVUS_URI)"
        ) from err
    except FileExistsError as err:
        raise ConfigError(f"{path} is a file; a Milvus Lite index is a directory") from err
    except OSError as err:
        raise ConfigError(f"{path}: the index cannot be opened ({err.strerror})") from err
    except MilvusLiteError as err:
        raise ConfigError(f"{path} is damaged or no Milvus Lite index") from err


def _folder_of_sockets() -> str:
    """For temporary files, unless its path is too long: the kernel takes 107 bytes of a socket's."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= _MAX_FOLDER_BYTES else "/tmp"  # noqa: S108 - a private folder in it
