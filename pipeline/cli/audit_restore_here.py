"""Begin a new log: keep the old one, empty the ledger's, and append the first entry."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pipeline import wiring_audit
from pipeline.audit.key_file import KEY_FILE
from pipeline.audit.tiles import CHECKPOINT
from pipeline.errors import ArgumentError
from pipeline.service.access import local_caller
from pipeline.service.audit_restart import enter_new_log
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.audit.loss import Loss
    from pipeline.audit.note import VerifierKey

OLD_LOG = "log"  # in the folder that is kept: what the ledger had, as `pictor audit export` writes it


def new_settings(
    settings: Settings, *, origin: str, new_key: Path | None, tiles: str, checkpoints: str
) -> Settings:
    """Those of the new log. Raises ArgumentError: the file of the key cannot be read."""
    given: Mapping[str, Any] = {
        "audit_origin": origin,
        "audit_tiles": tiles,
        "audit_checkpoints": checkpoints,
        "audit_key": _secret_in(new_key),
    }
    return settings.model_copy(update={name: value for name, value in given.items() if value})


def check_new(old: Settings, new: Settings) -> None:
    """Raises ArgumentError: the new log would have the name, the key or a place of the old one."""
    has_key = bool(old.audit_key.get_secret_value())
    needed = {
        "--origin": (has_key or old.audit_origin) and new.audit_origin == old.audit_origin,
        "--new-key": has_key and new.audit_key == old.audit_key,
        "--tiles": old.audit_tiles and new.audit_tiles == old.audit_tiles,
        "--checkpoints": old.audit_checkpoints and new.audit_checkpoints == old.audit_checkpoints,
    }
    if lacking := [option for option, is_old in needed.items() if is_old]:
        raise ArgumentError(f"a new log needs its own: give {', '.join(lacking)}, other than those of now")
    tiles = wiring_audit.audit_places(new) if new.audit_tiles else []  # those of the home are moved away
    for place in (*tiles, *wiring_audit.checkpoint_places(new)):
        if place.read(CHECKPOINT) is not None:
            raise ArgumentError(f"{place.url} has the checkpoint of a log already; give a place without one")


def begin_new_log(loss: "Loss", old_key: "VerifierKey", settings: Settings, new: Settings, keep: Path) -> str:
    """Returns the public key of the new log. The old one stays if it fails.

    Raises:
        ArgumentError: the new log would have something of the old one, or `keep` is there.
    """
    first = enter_new_log(loss, str(old_key), local_caller())
    check_new(settings, new)
    _export(settings, keep)
    with _moved(_of_home(settings, new), keep), wiring_audit.open_audit_log(new) as log:
        log.begin_anew(first)
        return log.vkey


def _export(settings: Settings, keep: Path) -> None:
    from pipeline.audit.export import export_lines
    from pipeline.cli.audit_export import write_log

    if keep.exists():
        raise ArgumentError(f"--keep: {keep} is there already; give a folder that is not")
    with wiring_audit.open_audit_log(settings) as log:
        write_log(log, keep / OLD_LOG, export_lines(log.entries(), since=None, until=None))


def _of_home(old: Settings, new: Settings) -> list[Path]:
    """What the home has of the old log."""
    folder = [old.home / "audit"] if old.audit_tiles_target == new.audit_tiles_target else []
    key = [] if old.audit_key.get_secret_value() else [old.home / KEY_FILE]
    return [path for path in (*folder, *key) if path.exists()]


@contextmanager
def _moved(paths: list[Path], keep: Path) -> Iterator[None]:
    """Move files to a folder, and back if what follows fails."""
    for path in paths:
        shutil.move(path, keep / path.name)
    try:
        yield
    except BaseException:
        for path in paths:
            if path.exists():  # of the log that was not begun, as far as this process knows
                shutil.move(path, keep / f"unused-{path.name}")
            shutil.move(keep / path.name, path)
        raise


def _secret_in(file: Path | None) -> SecretStr | None:
    if file is None:
        return None
    try:
        return SecretStr(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as err:
        raise ArgumentError(f"--new-key: {file} cannot be read") from err
