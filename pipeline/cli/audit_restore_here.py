"""Begin a new log: keep the old one, empty the ledger's, and append the first entry.

The commit in the ledger decides which of the two logs there is. Until then the home keeps all that it has of
the old one, and what it will have of the new one lies beside it. So whoever is killed can run it again.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pipeline import wiring_audit
from pipeline.audit.checkpoint import open_checkpoint
from pipeline.audit.key_file import KEY_FILE, load_or_make_key
from pipeline.audit.note import NoteError
from pipeline.audit.tiles import CHECKPOINT
from pipeline.errors import ArgumentError
from pipeline.service.access import local_caller
from pipeline.service.audit_restart import enter_new_log
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.audit.loss import Loss
    from pipeline.audit.note import VerifierKey

BEGUN = "audit.new"  # in the home: its part of a log that is about to begin
TILES = "audit"  # in the home, where no other place is set
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
    _copy(_of_home(settings, new), keep)
    try:
        with wiring_audit.open_audit_log(_beside(settings, new)) as log:
            log.begin_anew(first)
            return log.vkey
    finally:
        end_unfinished(settings)


def is_unfinished(settings: Settings) -> bool:
    """Whether somebody was killed while a new log began."""
    return (settings.home / BEGUN).exists()


def end_unfinished(settings: Settings) -> bool:
    """Put the home's part of the new log in the place of the old one's, or take it away if none has begun.

    Safe to run twice. The key comes last: nobody signs with the old one, since the ledger has the new log.

    Args:
        settings: of the old log.

    Returns:
        Whether the new log has begun.
    """
    begun, home = settings.home / BEGUN, settings.home
    if has_begun := _is_of_another_key(settings):
        if (begun / TILES).exists():
            shutil.rmtree(home / TILES, ignore_errors=True)
            (begun / TILES).replace(home / TILES)
        if (begun / KEY_FILE).exists():
            (begun / KEY_FILE).replace(home / KEY_FILE)
    shutil.rmtree(begun)
    return has_begun


def _is_of_another_key(settings: Settings) -> bool:
    with wiring_audit.open_audit_log(settings) as log:
        signed = log.head().checkpoint
        try:
            return bool(signed) and not open_checkpoint(signed, log.key.verifier)
        except NoteError:
            return True


def _beside(settings: Settings, new: Settings) -> Settings:
    """Those of the new log, with its part of the home in a folder of its own."""
    begun = settings.home / BEGUN
    begun.mkdir(mode=0o700)
    given: dict[str, Any] = {}
    if not new.audit_key.get_secret_value():
        given["audit_key"] = SecretStr(load_or_make_key(begun, new.audit_origin).secret_text())
    if new.audit_tiles_target and new.audit_tiles_target == settings.audit_tiles_target:
        (begun / TILES).mkdir()
        given["audit_tiles"] = str(begun / TILES)
    return new.model_copy(update=given)


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


def _copy(paths: list[Path], keep: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.copytree(path, keep / path.name)
        else:
            shutil.copy2(path, keep / path.name)


def _secret_in(file: Path | None) -> SecretStr | None:
    if file is None:
        return None
    try:
        return SecretStr(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as err:
        raise ArgumentError(f"--new-key: {file} cannot be read") from err
