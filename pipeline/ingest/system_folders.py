"""Folders that a NAS, a sync program or a file system keeps among somebody's pictures.

They hold thumbnails, older versions and deleted files, which would be found beside the pictures that they
belong to. They are left out below a local folder, unless an `include` pattern names one: `**/@eaDir/**`.
"""

import re
from collections.abc import Iterable

from pipeline.ingest.globs import compile_glob
from pipeline.ingest.system_folder_names import SYSTEM_FOLDERS as SYSTEM_FOLDERS

_NAMES = "|".join(re.escape(name).replace(r"\*", "[^/]*") for name in SYSTEM_FOLDERS)
# Case does not count: disks are carried from one system to another.
_FOLDER = re.compile(rf"(?:^|/)({_NAMES})(?=/)", re.IGNORECASE)


class SystemFolders:
    """Those that no pattern of `include` names."""

    def __init__(self, include: Iterable[str]) -> None:
        # A part of stars alone names no folder. The last part is about files.
        parts = {part.casefold() for pattern in include for part in pattern.split("/")[:-1]}
        self._named = [compile_glob(part) for part in sorted(parts) if part.strip("*")]

    def hold(self, key: str) -> bool:
        """Whether a folder of the key's path is one of them."""
        return any(not self._is_named(folder) for folder in _FOLDER.findall(key))

    def _is_named(self, folder: str) -> bool:
        return any(glob.fullmatch(folder.casefold()) for glob in self._named)
