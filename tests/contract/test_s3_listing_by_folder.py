"""S3Store on a server that lists folder by folder, as SeaweedFS does: a few lines of HTTP, here."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from pipeline.adapters.s3.config import S3Config
from pipeline.adapters.s3.store import S3Store
from pipeline.errors import TargetError

KEYS = ["A/z", "a-b", "a.jpg", "a/b", "a/c", "a/c-", "a/c/d", "a0", "b/x", "é", "日/x"]
PAGE_ITEMS = 2


def order_of(key: str) -> list[str]:
    return key.split("/")


class FolderOrder(BaseHTTPRequestHandler):
    """Lists `KEYS`, in pages, each name of a folder where the folder's name is."""

    name = "SeaweedFS 8000GB 4.48"

    def version_string(self) -> str:
        return self.name

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        after = asked.get("continuation-token") or asked.get("start-after", "")
        prefix, by_folder = asked.get("prefix", ""), asked.get("delimiter") == "/"
        names = [rolled(key, prefix) if by_folder else key for key in KEYS if key.startswith(prefix)]
        left = [
            name for name in sorted(set(names), key=order_of) if not after or order_of(name) > order_of(after)
        ]
        self.answer(left[:PAGE_ITEMS], is_cut=len(left) > PAGE_ITEMS)

    def answer(self, names: list[str], *, is_cut: bool) -> None:
        entries = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if name.endswith("/")
            else f"<Contents><Key>{escape(name)}</Key><Size>5</Size><ETag>0123</ETag></Contents>"
            for name in names
        )
        more = f"<NextContinuationToken>{escape(names[-1])}</NextContinuationToken>" if is_cut else ""
        body = (
            f"<ListBucketResult><Name>shop</Name><IsTruncated>{str(is_cut).lower()}</IsTruncated>"
            f"{more}{entries}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Hidden(FolderOrder):
    name = "nginx"


def rolled(key: str, prefix: str) -> str:
    first, slash, _ = key.removeprefix(prefix).partition("/")
    return prefix + first + slash


@contextmanager
def store_on(handler: type[FolderOrder]) -> Iterator[S3Store]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), name="service")
    thread.start()
    store = S3Store(
        S3Config(endpoint=f"127.0.0.1:{server.server_port}", access_key="key", secret_key="secret")
    )
    try:
        yield store
    finally:
        store.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def store() -> Iterator[S3Store]:
    with store_on(FolderOrder) as store:
        yield store


@pytest.mark.parametrize("start_after", ["", *KEYS, "a/", "a/c/", "zzz"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/c", "none"])
def test_keys_come_in_byte_order_from_any_start(store: S3Store, prefix: str, start_after: str) -> None:
    found = [ref.key for ref in store.list_objects("shop", prefix, start_after)]
    assert found == [key for key in KEYS if key.startswith(prefix) and key > start_after]


def test_a_server_of_that_order_that_does_not_give_its_name_is_refused() -> None:
    with (
        store_on(Hidden) as store,
        pytest.raises(TargetError, match=r"lists 'a/c-' after 'a/c/d'.* a proxy in front of it must keep"),
    ):
        list(store.list_objects("shop"))
