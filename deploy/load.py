"""Upload a folder, have it indexed by the workers, and look for its first picture: the `load` service.

    python deploy/load.py FOLDER [BUCKET]

Use it to try a system out. Pictures that are there already are neither uploaded nor indexed again.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline import wiring
from pipeline.cli.remote import ingest_remotely
from pipeline.errors import PictorError
from pipeline.location import parse_location
from pipeline.ports import ObjectStore
from pipeline.settings import Settings

BUCKET = "pictures"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


def main(folder: Path, bucket: str = BUCKET) -> int:
    settings = Settings.from_env()
    paths = sorted(find_pictures(folder))
    if not paths:
        print(f"no pictures in {folder}", file=sys.stderr)
        return 2
    try:
        print(
            f"uploaded {upload(folder, paths, bucket, settings)} of {len(paths)} pictures to s3://{bucket}/"
        )
        ingest_remotely(
            settings.broker_url.get_secret_value(),
            parse_location(f"s3://{bucket}/"),
            collection=None,
            include=(),
            exclude=(),
            batch_items=None,
            max_failure_rate=1.0,
            as_json=False,
        )
    except PictorError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    return _pictor("search", str(paths[0]), "-k", "5")


def find_pictures(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def upload(folder: Path, paths: list[Path], bucket: str, settings: Settings) -> int:
    """Returns how many were not there yet, by key and size."""
    store = wiring.open_s3(settings)
    store.make_bucket(bucket)
    there = _sizes(store, bucket)
    wanted = [(path.relative_to(folder).as_posix(), path) for path in paths]
    new = [(key, path) for key, path in wanted if there.get(key) != path.stat().st_size]
    for key, path in new:
        store.put(bucket, key, path.read_bytes())
    return len(new)


def _sizes(store: ObjectStore, bucket: str) -> dict[str, int]:
    return {ref.key: ref.size_bytes for ref in store.list_objects(bucket)}


def _pictor(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pipeline.cli", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
