"""A log is published to a folder and to a bucket in the same way."""

import os
import secrets
from pathlib import Path

import pytest

from pipeline.adapters.folder.store import FolderStore
from pipeline.adapters.s3.config import S3Config
from pipeline.adapters.s3.store import S3Store
from pipeline.audit.note import SigningKey
from pipeline.audit.place import Place, read_checkpoints
from pipeline.audit.publisher import Publisher
from pipeline.audit.verify import verify_log
from tests.audit_records import MadeTree
from tests.conftest import missing

KEY = SigningKey.generate("pictor.test/log")


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A bucket or folder with nothing in it."""
    if request.param == "folder":
        return Place(store=FolderStore(), bucket=str(tmp_path), prefix="", url="folder/")
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    endpoint, access_key, secret_key = (os.environ.get(name, "") for name in names)
    if not endpoint:
        missing("no S3 server: AWS_ENDPOINT_URL is not set")
    store = S3Store(S3Config(endpoint=endpoint, access_key=access_key, secret_key=secret_key))
    bucket = f"log-{secrets.token_hex(6)}"
    store.make_bucket(bucket)
    return Place(store=store, bucket=bucket, prefix="faces/", url=f"s3://{bucket}/faces/")


def test_a_log_that_grows_is_published_and_verified(place: Place) -> None:
    entries = [b"%032d" % number for number in range(300)]
    for size in (3, 200, 300):
        tree = MadeTree(entries[:size], KEY)
        Publisher(tree, KEY.verifier, tiles=place, copies=[place]).publish()
        kept = read_checkpoints(place, KEY.verifier)
        assert [one.checkpoint.size for one in kept] == [size, size], "the newest, and the one of the day"
    faults = verify_log(tree, KEY.verifier, place=place).faults
    assert {fault.text.partition(": ")[2] for fault in faults} == {
        "its record was removed, and no erasure names it"  # it never had one
    }
    assert sorted(place.names("tile/")) == [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ]
