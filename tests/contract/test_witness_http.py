"""A request to a witness, over real HTTP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.adapters.http_post import MAX_ANSWER_BYTES, post
from pipeline.errors import ConfigError, TransientError


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = int(self.path.rsplit("/", 1)[-1])
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body * 2)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 409, 422, 500])
def test_every_answer_comes_with_its_status(server: str, status: int) -> None:
    assert post(f"{server}/{status}", b"ab") == (status, b"abab")


def test_an_answer_is_read_up_to_its_limit(server: str) -> None:
    _, answer = post(f"{server}/200", bytes(MAX_ANSWER_BYTES))
    assert len(answer) == MAX_ANSWER_BYTES


def test_nobody_there_is_a_matter_of_the_moment() -> None:
    with pytest.raises(TransientError, match=r"http://127.0.0.1:1/x does not answer"):
        post("http://127.0.0.1:1/x", b"")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://witness.test", "witness.test"])
def test_only_http_is_asked(url: str) -> None:
    with pytest.raises(ConfigError, match="http:// or https:// is expected"):
        post(url, b"")
