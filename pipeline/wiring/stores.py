"""Where pictures and weights lie: folders and S3, and the users of S3 that read them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ArgumentError, ConfigError
from pipeline.location import Location, local_path, parse_location, split_s3_url
from pipeline.ports import ObjectStore
from pipeline.ports.lazy import LazyStore
from pipeline.settings import Settings
from pipeline.types import WORKERS

if TYPE_CHECKING:
    from pipeline.adapters.s3.config import S3Config
    from pipeline.adapters.s3.rights import StorePlaces
    from pipeline.adapters.s3.store import S3Store


MAX_WEIGHTS_BYTES = 8 * 2**30  # the largest published classification weights are 2.5 GB


def open_store(settings: Settings) -> ObjectStore:
    """Folders and, once it is asked for, S3. The S3 client is made at its first use."""
    from pipeline.adapters.folder.store import FolderStore
    from pipeline.adapters.routed_store import RoutedStore

    return RoutedStore(folders=FolderStore(), s3=LazyStore(lambda: open_s3(settings)))


def open_uploads(settings: Settings, *, driver: str) -> Location | None:
    """Where pictures are kept that come over HTTP. A folder is made if need be.

    Raises:
        ConfigError: it is no place, or workers elsewhere could not read it.
    """
    target = settings.uploads_target
    if target and not target.startswith("s3://") and driver == WORKERS:
        raise ConfigError(f"PICTOR_UPLOADS: {target} is a folder, and workers elsewhere cannot read it")
    return make_place(target, of="PICTOR_UPLOADS", mode=0o700) if target else None


def make_place(target: str, *, of: str, mode: int = 0o777) -> Location:
    """A place to write into: a folder, which is made if need be, or a prefix that ends like one.

    Args:
        of: the setting that names it.

    Raises:
        ConfigError: it is no place.
    """
    try:
        if not target.startswith("s3://"):
            local_path(target).mkdir(parents=True, exist_ok=True, mode=mode)
        elif not target.endswith("/"):
            target = f"{target}/"  # else `up` would hold `uploads` of somebody else, and keys would begin so
        return parse_location(target)
    except OSError as err:
        raise ConfigError(f"{of}: folder {target} cannot be made: {err.strerror}") from err
    except ArgumentError as err:
        raise ConfigError(f"{of}: {err}") from err


def locate_file(path: Path) -> tuple[str, str]:
    """The bucket and key of a file."""
    from pipeline.adapters.folder.keys import locate_file as locate

    return locate(path)


def open_s3(settings: Settings) -> "S3Store":
    from pipeline.adapters.s3.store import S3Store

    return S3Store(_s3_config(settings))


def weights_fetcher(settings: Settings) -> Callable[[str], bytes]:
    def fetch(url: str) -> bytes:
        bucket, key = split_s3_url(url)
        store = open_s3(settings)
        return store.get(store.stat(bucket, key), max_bytes=MAX_WEIGHTS_BYTES).body

    return fetch


def store_policy(settings: Settings, roles: Sequence[str]) -> dict[str, object]:
    """The policy of an S3 user that does the work of these roles. See `policy_of`."""
    from pipeline.adapters.s3.rights import policy_of

    return policy_of(roles, _store_places(settings))


def make_store_users(settings: Settings) -> dict[str, str]:
    """Make the S3 users that are configured. Returns their access keys, by role."""
    from pipeline.adapters.s3.users import make_users

    users = settings.s3_users.get_secret_value()
    return make_users(_s3_config(settings), users, _store_places(settings)) if users else {}


def _s3_config(settings: Settings) -> "S3Config":
    from pipeline.adapters.s3.config import S3Config

    return S3Config(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        session_token=settings.s3_session_token.get_secret_value(),
        region=settings.s3_region,
        timeout_s=settings.s3_timeout_s,
        attempts=settings.s3_attempts,
        ca_file=settings.s3_ca_file,
    )


def _store_places(settings: Settings) -> "StorePlaces":
    from pipeline.adapters.s3.rights import StorePlaces

    def in_store(target: str, of: str) -> Location | None:
        return make_place(target, of=of) if target.startswith("s3://") else None

    return StorePlaces(
        sources=settings.bucket_globs,
        staging=settings.staging_bucket,
        uploads=in_store(settings.uploads, "PICTOR_UPLOADS"),
        tiles=in_store(settings.audit_tiles, "PICTOR_AUDIT_TILES"),
        checkpoints=in_store(settings.audit_checkpoints, "PICTOR_AUDIT_CHECKPOINTS"),
        weights=_weights_in_store(settings),
    )


def _weights_in_store(settings: Settings) -> list[Location]:
    store = [settings.model_store.rstrip("/") + "/"] if settings.model_store else []
    if not settings.model.endswith(".toml"):
        return [parse_location(url) for url in store]
    from pipeline.adapters.models.catalogue import list_files

    files = [file.location for file in list_files(settings.model)]
    return [parse_location(url) for url in (*files, *store) if url.startswith("s3://")]
