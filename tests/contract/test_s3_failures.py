"""How S3Store takes a service that fails, lies or hangs. The service is a few lines of HTTP, here."""

import logging
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.reader import FastReader
from pipeline.adapters.s3.store import S3Store
from pipeline.errors import (
    ConfigError,
    CredentialsError,
    FatalError,
    ImageError,
    PictorError,
    TargetError,
    TransientError,
)
from pipeline.types import ObjectRef, Reason

SECRETS = ("AKIDNOTTOBESEEN", "secret-not-to-be-seen", "token-not-to-be-seen")
REF = ObjectRef(bucket="shop", key="a.jpg", etag="0123", size_bytes=5)
ODD_REF = ObjectRef(bucket="shop", key="a//b.jpg", etag="0123", size_bytes=5)  # never read with obstore


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/xml"})
    drip: bool = False  # one byte at a time, a tenth of a second apart, without end


@dataclass(frozen=True)
class Request:
    path: str
    user_agent: str
    authorization: str


class Service:
    """Gives its answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.stopping = Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = (self.headers.get(name, "") for name in ("User-Agent", "Authorization"))
                service.requests.append(Request(self.path, *asked))
                service.reply(self, service.answers.pop(0) if service.answers[1:] else service.answers[0])

            do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,), name="service")
        self.thread.start()

    def reply(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if length := int(handler.headers.get("Content-Length") or 0):
            handler.rfile.read(length)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if "Content-Length" not in answer.headers and not answer.drip:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer.body)
        while answer.drip and not self.stopping.wait(0.1):
            handler.wfile.write(b"x")

    def stop(self) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def store(service: Service, pauses: list[float]) -> Iterator[S3Store]:
    store = store_at(f"127.0.0.1:{service.server.server_port}", pauses.append)
    yield store
    store.close()


def store_at(
    endpoint: str,
    pause: Callable[[float], None] = lambda _: None,
    *,
    timeout_s: float = 5.0,
    attempts: int = 4,
) -> S3Store:
    access_key, secret_key, token = SECRETS
    return S3Store(
        S3Config(
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            session_token=token,
            timeout_s=timeout_s,
            attempts=attempts,
        ),
        pause=pause,
    )


def failure(status: int, code: str, **headers: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>not ours {SECRETS[0]}</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml", **headers})


def page(*keys: str, more: bool = False) -> Answer:
    entries = "".join(f"<Contents><Key>{key}</Key><Size>5</Size><ETag>0123</ETag></Contents>" for key in keys)
    token = "<NextContinuationToken>t</NextContinuationToken>" if more else ""
    return Answer(
        body=f"<ListBucketResult><Name>shop</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
        f"{token}{entries}</ListBucketResult>".encode()
    )


def found(body: bytes = b"hello", /, *, etag: str = "0123", **headers: str) -> Answer:
    return Answer(
        body=body,
        headers={"ETag": f'"{etag}"', "Last-Modified": "Tue, 24 Nov 2026 02:00:00 GMT", **headers},
    )


def list_all(store: S3Store) -> list[str]:
    return [ref.key for ref in store.list_objects("shop")]


OVERLOAD = failure(503, "SlowDown")

LISTING_FAILURES = [
    (failure(404, "NoSuchBucket"), TargetError, r"bucket 'shop' does not exist at http://127"),
    (failure(403, "AccessDenied"), TargetError, r"bucket 'shop' at http://127.*policy"),
    (failure(403, "InvalidAccessKeyId"), CredentialsError, r"PICTOR_S3_ACCESS_KEY"),
    (failure(403, "SignatureDoesNotMatch"), CredentialsError, r"PICTOR_S3_SECRET_KEY"),
    (failure(400, "ExpiredToken"), CredentialsError, r"PICTOR_S3_SESSION_TOKEN"),
    (failure(403, "RequestTimeTooSkewed"), FatalError, r"clocks differ.* GMT there, .* GMT here"),
    (
        failure(400, "AuthorizationHeaderMalformed", **{"x-amz-bucket-region": "eu-west-9"}),
        ConfigError,
        "eu-west-9",
    ),
    (failure(400, "InvalidArgument"), ConfigError, "refused with InvalidArgument"),
    (failure(400, "<b>" + SECRETS[1] + "</b>"), ConfigError, "an unnamed error"),
    (OVERLOAD, TransientError, r"503 SlowDown; 4 tries"),
    (failure(500, "InternalError"), TransientError, r"at http://127.*500 InternalError"),
    (failure(429, "TooManyRequests"), TransientError, r"429"),
    (Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}), TransientError, "answered 502"),
    (
        Answer(404, b"<html>Not here</html>", {"Content-Type": "text/html"}),
        ConfigError,
        "not as an S3 service",
    ),
    (
        Answer(200, b"<html></html>", {"Content-Type": "text/html"}),
        ConfigError,
        "not answer as an S3 service",
    ),
    (Answer(200, b"<ListBucketResult><Na"), TransientError, "cut or garbled"),
]


@pytest.mark.parametrize(("answer", "kind", "message"), LISTING_FAILURES)
def test_a_listing_says_what_failed_and_whose_fault_it_is(
    service: Service, store: S3Store, answer: Answer, kind: type[PictorError], message: str
) -> None:
    service.answers = [answer]
    with pytest.raises(kind, match=message):
        list_all(store)
    assert len(service.requests) == (4 if kind is TransientError else 1)


OBJECT_FAILURES = [
    (failure(404, "NoSuchKey"), Reason.NOT_FOUND),
    (failure(412, "PreconditionFailed"), Reason.CHANGED),
    (failure(403, "AccessDenied"), Reason.ACCESS_DENIED),
    (failure(403, "InvalidObjectState"), Reason.ACCESS_DENIED),
    (failure(400, "InvalidRequest"), Reason.ACCESS_DENIED),
    (found(etag="4567"), Reason.CHANGED),  # a service that does not know If-Match
    (found(b"x" * 11), Reason.TOO_LARGE),
]


CODE = b"<Error><Code>"


@pytest.mark.parametrize("ref", [REF, ODD_REF], ids=["fast", "slow"])
@pytest.mark.parametrize(("answer", "reason"), OBJECT_FAILURES)
def test_a_failure_of_one_object_rejects_that_image(
    service: Service, store: S3Store, ref: ObjectRef, answer: Answer, reason: Reason
) -> None:
    service.answers = [answer]
    with pytest.raises(ImageError) as error:
        store.get(ref, max_bytes=10)
    assert error.value.reason is reason
    assert len(service.requests) <= 2


XML_TYPES = [
    "text/xml",
    "text/xml; charset=utf-8",
    "Application/XML",
    "application/xml ;v=1",
    "text/html",
    "",
]
LISTING_CODES = [case for case in LISTING_FAILURES if CODE in case[0].body]
OBJECT_CODES = [case for case in OBJECT_FAILURES if CODE in case[0].body]
NO_ANSWERS = [b"<html>Not here</html>", b"<Code>NoSuchKey</Code>", b"<Error/>", b"<Error><Code/>", b"{}", b""]


@pytest.mark.parametrize("content_type", XML_TYPES)
@pytest.mark.parametrize(("answer", "kind", "message"), LISTING_CODES)
def test_a_failure_means_the_same_whatever_type_the_answer_says_it_has(
    service: Service, store: S3Store, content_type: str, answer: Answer, kind: type[PictorError], message: str
) -> None:
    service.answers = [replace(answer, headers={"Content-Type": content_type})]
    # The SDK keeps no other header of such an answer.
    told = message.replace("eu-west-9", "another region").replace(" GMT there", "unknown there")
    with pytest.raises(kind, match=told):
        list_all(store)


@pytest.mark.parametrize("content_type", XML_TYPES)
@pytest.mark.parametrize("ref", [REF, ODD_REF], ids=["fast", "slow"])
@pytest.mark.parametrize(("answer", "reason"), OBJECT_CODES)
def test_a_failure_of_one_object_rejects_that_image_whatever_type_the_answer_says_it_has(
    service: Service, store: S3Store, ref: ObjectRef, content_type: str, answer: Answer, reason: Reason
) -> None:
    namespace = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    )
    for body in (answer.body, answer.body.replace(b"<Error>", namespace), b"\n" + answer.body):
        service.answers = [replace(answer, body=body, headers={"Content-Type": content_type})]
        with pytest.raises(ImageError) as error:
            store.get(ref, max_bytes=10)
        assert error.value.reason is reason


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_a_page_that_is_no_answer_of_s3_blames_no_image(
    service: Service, store: S3Store, body: bytes
) -> None:
    service.answers = [Answer(404, body, {"Content-Type": "text/xml"})]
    with pytest.raises(ConfigError, match="not as an S3 service does"):
        store.get(REF, max_bytes=10)


@pytest.mark.parametrize("content_type", ["application/xml", "text/xml"])
def test_a_bucket_that_is_there_and_a_key_that_may_not_list_are_no_errors(
    service: Service, store: S3Store, content_type: str
) -> None:
    typed = {"Content-Type": content_type}
    service.answers = [failure(409, "BucketAlreadyOwnedByYou", **typed)]
    store.make_bucket("shop")
    service.answers = [failure(403, "AccessDenied", **typed)]
    store.check()
    service.answers = [failure(403, "InvalidAccessKeyId", **typed)]
    with pytest.raises(CredentialsError):
        store.check()


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "RequestTimeTooSkewed"])
def test_refused_credentials_stop_the_process_and_blame_no_image(
    service: Service, store: S3Store, code: str
) -> None:
    service.answers = [failure(403, code)]
    for call in (
        lambda: store.get(REF, max_bytes=10),
        lambda: store.stat("shop", "a.jpg"),
        lambda: store.put("shop", "a.jpg", b"x"),
        lambda: store.delete("shop", "a.jpg"),
    ):
        with pytest.raises(FatalError):
            call()


def test_a_refused_write_blames_no_image(service: Service, store: S3Store) -> None:
    service.answers = [failure(403, "AccessDenied")]
    with pytest.raises(TargetError):
        store.put("shop", "a.jpg", b"x")


def test_an_overloaded_service_is_asked_again_with_growing_pauses(
    service: Service, store: S3Store, pauses: list[float]
) -> None:
    service.answers = [OVERLOAD, OVERLOAD, OVERLOAD, page("a", "b")]
    assert list_all(store) == ["a", "b"]
    assert len(pauses) == 3
    assert all(low <= pause <= 2 * low for pause, low in zip(pauses, (0.1, 0.2, 0.4), strict=True))


def test_a_page_that_fails_half_way_is_asked_for_again_from_the_last_key(
    service: Service, store: S3Store
) -> None:
    service.answers = [page("a", "b", more=True), OVERLOAD, page("c")]
    assert list_all(store) == ["a", "b", "c"]
    assert "start-after=b" in service.requests[-1].path


@pytest.mark.parametrize("ref", [REF, ODD_REF], ids=["fast", "slow"])
def test_a_read_is_tried_as_often_as_set_and_no_more(
    service: Service, store: S3Store, ref: ObjectRef
) -> None:
    service.answers = [OVERLOAD]
    with pytest.raises(TransientError):
        store.get(ref, max_bytes=10)
    assert len(service.requests) == 4


@pytest.mark.parametrize("ref", [REF, ODD_REF], ids=["fast", "slow"])
def test_a_body_that_is_cut_is_read_again_and_never_returned(
    service: Service, store: S3Store, ref: ObjectRef
) -> None:
    cut = found(b"hel", **{"Content-Length": "5"})
    service.answers = [cut, cut, found()]
    assert store.get(ref, max_bytes=10).body == b"hello"
    service.answers = [cut]
    with pytest.raises(TransientError):
        store.get(ref, max_bytes=10)


def test_a_body_without_a_length_is_cut_off_at_the_limit(service: Service, store: S3Store) -> None:
    endless = found(b"x" * 2**20)
    service.answers = [Answer(200, endless.body, endless.headers, drip=True)]
    with pytest.raises(ImageError) as error:
        store.get(REF, max_bytes=1000)
    assert error.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("ref", [REF, ODD_REF], ids=["fast", "slow"])
def test_a_body_that_drips_for_ever_is_a_timeout_of_that_image(service: Service, ref: ObjectRef) -> None:
    store = store_at(f"127.0.0.1:{service.server.server_port}", timeout_s=0.3, attempts=2)
    drip = found(**{"Content-Length": "1000"})
    service.answers = [Answer(200, b"", drip.headers, drip=True)]
    started = time.monotonic()
    with pytest.raises(ImageError) as error:
        store.get(ref, max_bytes=1000)
    assert error.value.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 5
    store.close()


def test_keys_in_another_order_end_the_listing(service: Service, store: S3Store) -> None:
    service.answers = [page("a", "c", "b")]
    with pytest.raises(ConfigError, match="lists 'b' after 'c'"):
        list_all(store)


def test_user_metadata_comes_with_the_bytes(service: Service, store: S3Store) -> None:
    service.answers = [
        found(**{"x-amz-meta-Cam": "7", "Cache-Control": "none", "Content-Type": "image/jpeg"})
    ]
    for ref in (REF, ODD_REF):
        assert store.get(ref, max_bytes=10).metadata == {"cam": "7"}
    assert len(service.requests) == 2


def test_variables_of_other_tools_do_not_lead_the_fast_reader_elsewhere(
    service: Service, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_S3_EXPRESS", "true")
    service.answers = [found()]
    assert store.get(REF, max_bytes=10).body == b"hello"
    [request] = service.requests
    assert request.path == "/shop/a.jpg"
    assert request.user_agent.startswith("object_store")
    assert request.authorization.startswith(f"AWS4-HMAC-SHA256 Credential={SECRETS[0]}/")


# --- nobody there ---


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Takes connections and never says a word, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_service_that_hangs_is_away_and_the_wait_is_bounded(silent_endpoint: str) -> None:
    store = store_at(silent_endpoint, timeout_s=0.2, attempts=3)
    for call in (
        lambda: list_all(store),
        lambda: store.get(REF, max_bytes=9),
        lambda: store.stat("shop", "a"),
    ):
        started = time.monotonic()
        with pytest.raises(TransientError, match=rf"http://{silent_endpoint}: no answer within 0.2 s; "):
            call()
        assert time.monotonic() - started < 5
    store.close()


def test_the_fast_reader_gives_up_long_before_the_deadline_of_a_whole_object(silent_endpoint: str) -> None:
    config = S3Config(endpoint=silent_endpoint, access_key="a", secret_key="b", timeout_s=0.2, attempts=50)
    reader = FastReader(config, parse_endpoint(silent_endpoint), CredentialSource(config))
    started = time.monotonic()
    assert reader.read(REF, max_bytes=9) is None
    assert time.monotonic() - started < 5


def test_a_closed_port_and_an_unknown_host_are_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for endpoint in (f"127.0.0.1:{port}", "http://nobody.invalid"):
        store = store_at(endpoint)
        with pytest.raises(TransientError, match=endpoint.removeprefix("http://") + ": no connection"):
            list_all(store)
        with pytest.raises(TransientError):
            store.get(REF, max_bytes=9)
        store.close()


# --- settings and secrets ---


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "https://s3.amazonaws.com"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("localhost:9000", "http://localhost:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("minio:9000", "https://minio:9000"),
        ("http://minio:9000/", "http://minio:9000"),
        ("HTTPS://S3.example.org", "https://s3.example.org"),
    ],
)
def test_an_endpoint_is_read_with_or_without_a_scheme(text: str, url: str) -> None:
    assert parse_endpoint(text).url == url


@pytest.mark.parametrize(
    "text",
    ["ftp://host", "http://", "https://host/path", "host:port", "host?x=1", f"https://me:{SECRETS[1]}@host"],
)
def test_an_endpoint_that_cannot_be_used_is_refused_without_repeating_secrets(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_endpoint(text)
    assert SECRETS[1] not in str(error.value)


def test_half_a_pair_of_keys_is_refused() -> None:
    with pytest.raises(ConfigError, match="PICTOR_S3_ACCESS_KEY is set and PICTOR_S3_SECRET_KEY is not"):
        S3Store(S3Config(access_key="key"))


def test_no_credentials_at_all_are_the_callers_to_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, silent_endpoint: str
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path_factory.mktemp("none") / "credentials"))
    # A container's role service that is not there: quicker than to wait for that of a cloud's machine.
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    store = S3Store(S3Config(endpoint=silent_endpoint))
    with pytest.raises(ConfigError, match="PICTOR_S3_ACCESS_KEY and PICTOR_S3_SECRET_KEY"):
        list_all(store)
    store.close()


@pytest.mark.parametrize("bucket", ["", "A b", "x", "a/b", "../etc"])
def test_a_bucket_name_that_cannot_be_is_refused(store: S3Store, bucket: str) -> None:
    with pytest.raises(ConfigError, match=r"^bucket name .*: 3 to 63 of the characters"):
        list(store.list_objects(bucket))


@pytest.mark.parametrize("key", ["./a", "a/../b", "..", " ", "half \ud800 pair"])
def test_a_key_that_the_client_cannot_ask_for_fails_alone(service: Service, store: S3Store, key: str) -> None:
    service.answers = [failure(404, "NoSuchKey")]
    with pytest.raises(ImageError) as error:
        store.get(ObjectRef(bucket="shop", key=key, etag="0", size_bytes=1), max_bytes=10)
    assert error.value.reason is Reason.ACCESS_DENIED
    with pytest.raises(ConfigError):
        store.put("shop", key, b"x")


def test_no_secret_is_in_any_error_log_or_repr(
    service: Service, store: S3Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = [
        repr(store),
        repr(S3Config(access_key=SECRETS[0], secret_key=SECRETS[1], session_token=SECRETS[2])),
    ]
    for answer in (answer for answer, _, _ in LISTING_FAILURES if answer.status >= 400):
        service.answers = [answer]
        for call in (
            lambda: list_all(store),
            lambda: store.get(REF, max_bytes=9),
            lambda: store.stat("shop", "a"),
        ):
            with pytest.raises(PictorError) as error:
                call()
            seen += [str(error.value), repr(error.value)]
    assert len(seen) > 40
    text = "\n".join([*seen, caplog.text])
    assert not any(secret in text for secret in SECRETS)


def test_no_key_is_in_the_traceback_of_a_refusal(service: Service, store: S3Store) -> None:
    service.answers = [Answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")]
    with pytest.raises(CredentialsError) as error:
        list_all(store)
    text = "".join(traceback.format_exception(error.value))
    assert not any(secret in text for secret in SECRETS)


class Elsewhere(Service):
    """Another service of this machine, which holds what nobody may have by a redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = [found()]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.server_port}/shop/a.jpg"  # the store's service is 127.0.0.1


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.stop()


@pytest.mark.parametrize("status", [301, 307])
def test_nobody_is_led_to_another_endpoint(
    service: Service, elsewhere: Elsewhere, store: S3Store, status: int
) -> None:
    """What a reference names is read there or nowhere: else a service could be made to ask others."""
    service.answers = [Answer(status, headers={"Location": elsewhere.url})]
    asks: list[Callable[[], object]] = [
        lambda: store.get(REF, max_bytes=100),
        lambda: store.get(replace(REF, etag=""), max_bytes=100),
        lambda: store.get(ODD_REF, max_bytes=100),
        lambda: store.stat("shop", "a.jpg"),
        lambda: list_all(store),
        lambda: store.put("shop", "a.jpg", b"x"),
    ]
    for ask in asks:
        with pytest.raises(ConfigError, match=f"answered {status} and not as an S3 service does"):
            ask()
    assert elsewhere.requests == []
    service.answers = [found()]
    assert store.get(REF, max_bytes=100).body == b"hello", "the endpoint itself is asked as before"
    assert service.requests[-1].user_agent.startswith("object_store"), "and the fast way"


@pytest.mark.parametrize("status", [302, 307])
def test_no_signature_goes_to_another_port_of_the_host(
    service: Service, elsewhere: Elsewhere, store: S3Store, status: int
) -> None:
    """The fast way cannot be kept from asking there (decision 0157). It does not sign for it."""
    other_port = elsewhere.url.replace("localhost", "127.0.0.1")
    service.answers = [Answer(status, headers={"Location": other_port})]
    assert store.get(REF, max_bytes=100).body == b"hello"
    assert service.requests[0].authorization.startswith("AWS4-HMAC-SHA256")
    assert [request.authorization for request in elsewhere.requests] == [""], "if nobody asked: drop 0157"
    with pytest.raises(ConfigError, match=f"answered {status}"):
        store.get(ODD_REF, max_bytes=100)
    assert len(elsewhere.requests) == 1, "the slow way follows nobody"
