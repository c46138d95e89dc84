"""Whatever text is given as a bucket or key, the S3 clients ask the endpoint that was set, for that key."""

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import unquote, urlsplit

import obstore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.response import HTTPResponse

from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.credentials import CredentialSource
from pipeline.adapters.s3.http import HttpClient
from pipeline.adapters.s3.reader import FastReader, reads_with_obstore
from pipeline.adapters.s3.store import S3Store
from pipeline.addresses import show_url
from pipeline.errors import ArgumentError, ConfigError, ImageError, TargetError
from pipeline.location import parse_location
from pipeline.names import check_bucket_name, check_bucket_or_folder, check_key
from pipeline.service.arguments import read_query, read_search
from pipeline.types import ObjectRef
from tests.unit.fakes import error_of

AIMED_ELSEWHERE = (
    "shop@evil.example",
    "evil.example/",
    "evil.example#",
    "evil.example?x=",
    "evil.example:443/x",
    "a/../b",
    "../other",
    "..",
    "shop\\evil",
    "shop\n",
    "shop%2f",
    "10.0.0.1",
    "[::1]",
    "a..b",
    "shop.-x",
    "ab",
    "x" * 64,
    "",
    "-shop",
    "sh\u00f6p",
    "sh\0p",
)
USED = ("shop", "old.Style_bucket", "logs--usw2-az1--x-s3", "tenant:shop", "x" * 63, "a.b-c.d", "123")
texts = st.text(max_size=70)
near_names = st.text(st.sampled_from("aB0.-_:@/?#%[]\\ \n"), min_size=1, max_size=20)
keys = st.text(st.characters(codec="utf-8") | st.sampled_from("/.%?#@:\\ +\n"), min_size=1, max_size=40)


@pytest.mark.parametrize("name", USED)
def test_names_of_services_in_use_are_taken(name: str) -> None:
    assert check_bucket_name(name) == name


@pytest.mark.parametrize("name", AIMED_ELSEWHERE)
def test_a_name_that_is_none_is_refused_at_every_door(name: str) -> None:
    doors: list[Callable[[], object]] = [
        lambda: check_bucket_name(name),
        lambda: check_bucket_or_folder(name),
    ]
    if "/" not in name:
        doors += [lambda: parse_location(f"s3://{name}/x"), lambda: read_query(f"s3://{name}/x")]
    if name:
        doors.append(lambda: read_search(collection="images", bucket=name))
    for door in doors:
        said = error_of(door, ArgumentError)
        assert said.isprintable()


@pytest.mark.parametrize("key", ["", "\0", "a\0b", "x" * 1025, "\u00fc" * 513, "half \ud800"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    assert "key" in error_of(lambda: check_key(key), ArgumentError)
    assert error_of(lambda: read_query(f"s3://shop/{key}"), ArgumentError)


@pytest.mark.parametrize("key", ["a", "x" * 1024, "\u00fc" * 512, "../a", "a//b", "a?b#c%2f"])
def test_any_other_text_is_a_key(key: str) -> None:
    assert check_key(key) == key


# Where the clients go


class AskedError(Exception):
    """Instead of an answer."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class RecordingClient(HttpClient):
    def urlopen(self, method: str, url: str, *_: object, **__: object) -> HTTPResponse:
        raise AskedError(url)


class Clients:
    """Both, of one endpoint."""

    def __init__(self, endpoint: str) -> None:
        config = S3Config(endpoint=endpoint, access_key="me", secret_key="mine")
        self.store = S3Store(config)
        self.store._minio._http = RecordingClient()
        self._reader = FastReader(config, parse_endpoint(endpoint), CredentialSource(config))

    def url_of_minio(self, bucket: str, key: str) -> str | None:
        """None where the name was refused."""
        try:
            self.store.stat(bucket, key)
        except AskedError as asked:
            return asked.url
        except (TargetError, ImageError):
            return None
        raise AssertionError("neither asked nor refused")

    def url_of_obstore(self, bucket: str, key: str) -> str:
        return obstore.sign(self._reader._store_of(bucket), "GET", key, timedelta(minutes=1))


@pytest.fixture(scope="module", params=["https://objects.example:9000", ""])
def clients(request: pytest.FixtureRequest) -> Clients:
    return Clients(request.param)


ENDPOINTS = ("objects.example:9000", "s3.us-east-1.amazonaws.com")


def check_url(url: str, bucket: str, key: str) -> None:
    parts = urlsplit(url)
    if parts.netloc in ENDPOINTS:
        assert unquote(parts.path) == f"/{bucket}/{key}"
    else:
        assert parts.netloc == f"{bucket}.s3.us-east-1.amazonaws.com"
        assert re.fullmatch("[A-Za-z0-9_-]+", bucket), "all of it is a part of the host's name"
        assert unquote(parts.path) == f"/{key}"


@given(bucket=st.one_of(st.sampled_from(AIMED_ELSEWHERE + USED), texts, near_names), key=keys)
@example(bucket="shop", key="%2e%2e/x")
@example(bucket="shop", key="a?b#c@evil.example")
def test_whatever_is_asked_goes_to_the_endpoint_and_for_that_key(
    clients: Clients, bucket: str, key: str
) -> None:
    url = clients.url_of_minio(bucket, key)
    if url is not None:
        check_url(url, bucket, key)
        if reads_with_obstore(key):
            check_url(clients.url_of_obstore(bucket, key), bucket, key)
    elif clients.url_of_minio(bucket, "a.jpg"):
        assert not reads_with_obstore(key), "refused for its key, which the fast reader would ask for"


@pytest.mark.parametrize("bucket", USED)
def test_buckets_in_use_are_asked_for(clients: Clients, bucket: str) -> None:
    is_aws_and_tenant = ":" in bucket and "amazonaws" in str(clients.store)
    assert bool(clients.url_of_minio(bucket, "a.jpg")) != is_aws_and_tenant


@pytest.mark.parametrize("bucket", AIMED_ELSEWHERE)
def test_the_fast_reader_never_hears_of_a_name_that_is_none(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(S3Config(access_key="me", secret_key="mine"))
    heard: list[str] = []
    monkeypatch.setattr(FastReader, "read", lambda _, ref, **__: heard.append(ref.bucket))
    ref = ObjectRef(bucket=bucket, key="a.jpg", etag="0123", size_bytes=1)
    assert error_of(lambda: store.get(ref, max_bytes=1), TargetError)
    assert heard == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://a b",
        "https://good.example\\@evil.example",
        "https://-",
        "https://x/?token=hunter2",
        "https://x?token=hunter2",
        "https://x#hunter2",
        "https://me:hunter2@x",
        "ftp://x/hunter2?hunter2",
    ],
)
def test_an_endpoint_is_a_host_and_a_port_and_no_secret_is_shown(endpoint: str) -> None:
    assert "token=" not in error_of(lambda: parse_endpoint(endpoint), ConfigError)


# URLs for people

words = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=6, max_size=12)


@given(user=words, password=words, token=words, port=st.integers(1, 65535))
def test_nothing_of_a_url_is_shown_but_where_it_leads(
    user: str, password: str, token: str, port: int
) -> None:
    url = f"amqps://{user}:{password}@mq.example:{port}/pictor?token={token}#{token}"
    told = show_url(url)
    assert not any(secret in told for secret in (user, password, token))
    if not re.search("[?#@]", user + password + token):
        assert told == f"amqps://***@mq.example:{port}/pictor?***"


@given(words)
def test_what_leads_somewhere_without_a_secret_is_shown_as_it_is(word: str) -> None:
    plain = re.sub("[?#@]", "x", f"https://objects.example:9000/{word}")
    assert show_url(plain) == plain
