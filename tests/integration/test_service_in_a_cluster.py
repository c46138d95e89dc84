"""Two processes of `pictor serve` and two workers on one running system, each with its own rights alone."""

import http.client
import json
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
import pytest

from pipeline.service.access import local_caller
from pipeline.service.keys import KeyRequest, create_key
from pipeline.types import DEFAULT_TENANT, KeyRole, image_id_of
from tests.accountable import NO_LOG
from tests.chaos.pictures import picture
from tests.fleet import Fleet, wait_until
from tests.scrape import Page
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, Server, restored

LIMIT_S = 120.0
CLIENTS = 20  # that search while the service is told to stop
FROZEN_S = 30.0  # for an answer while the ledger says nothing: 21 s were seen with 60 clients at once
FIRST = 7000  # pictures that no other test has: known content would take its vector along


@dataclass(frozen=True, kw_only=True)
class Process:
    """One `pictor serve`."""

    process: "subprocess.Popen[str]"
    http: httpx2.Client  # with the key of an admin

    def metrics(self) -> Page:
        return Page(self.http.get("/metrics").text)


@pytest.fixture(scope="module")
def admin(fleet: Fleet) -> str:
    request = KeyRequest(name="admin", roles=[KeyRole.ADMIN, KeyRole.WRITER], tenant=DEFAULT_TENANT)
    return create_key(request, fleet.ledger.keys, NO_LOG, local_caller()).text


@pytest.fixture(scope="module")
def processes(fleet: Fleet, admin: str) -> Iterator[Sequence[Process]]:
    env = {
        "PICTOR_BROKER_URL": fleet.broker_url("api"),
        "PICTOR_LEDGER_URL": fleet.env["PICTOR_LEDGER_SERVICE_URL"],
        "PICTOR_ALLOWED_BUCKETS": "t*",
        "PICTOR_SERVICE_KEYS": "required",
        "PICTOR_SERVICE_CURSOR_KEY": "of both",
        "PICTOR_LOG_LEVEL": "ERROR",  # nobody reads the pipe
    }
    begun = [fleet.begin("serve", "--port", "0", extra_env=env) for _ in "ab"]
    opened = []
    try:
        for process in begun:
            http = httpx2.Client(base_url=url_of(process), timeout=LIMIT_S, trust_env=False)
            http.headers["authorization"] = f"Bearer {admin}"
            opened.append(Process(process=process, http=http))
        for one in opened:
            wait_until(lambda one=one: one.http.get("/readyz").status_code == 200, "it is ready", LIMIT_S)  # type: ignore[misc]
        yield opened
    finally:
        for one in opened:
            one.http.close()
        for process in begun:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def url_of(process: "subprocess.Popen[str]") -> str:
    """The address that it prints once it answers."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://[^ ]+(?=/ )", line)
    assert found, line + process.communicate(timeout=LIMIT_S)[0]
    return found[0]


def events_of(answer: httpx2.Response) -> Iterator[dict[str, object]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def found_keys(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["key"] for hit in answer.json()["answers"][0]["hits"]]


def test_a_job_given_to_one_process_is_followed_on_the_other(
    fleet: Fleet, bucket: str, processes: Sequence[Process]
) -> None:
    one, other = (process.http for process in processes)
    fleet.put_all(bucket, {f"{number}.jpg": picture(FIRST + number) for number in range(3)})
    body, key = {"source": f"s3://{bucket}/"}, {"Idempotency-Key": f"of-{bucket}"}
    job = one.post("/v1/jobs", json=body, headers=key)
    assert job.status_code == 202, job.text
    path = job.headers["location"]
    with other.stream("GET", f"{path}/events") as answer:
        [*_, last] = events_of(answer)
    assert (last["state"], last["indexed"], last["driver"]) == ("completed", 3, "workers"), fleet.logs()
    assert other.post("/v1/jobs", json=body, headers=key).json()["job_id"] == last["job_id"]
    refused = other.post("/v1/jobs", json=body | {"keep_missing": True}, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "key_reused")
    listed = one.get("/v1/jobs", params={"max_results": 1}).json()
    if token := listed["next_token"]:
        assert other.get("/v1/jobs", params={"next_token": token}).status_code == 200, "one signs for both"
    search = f"/v1/collections/{fleet.settings.collection}/search/image"
    # What workers have written is seen by a search of another process 5 s later at the latest.
    asked: Mapping[str, str | int] = {"k": 1, "bucket": bucket}
    sent = {"content-type": "x/y"}
    wait_until(
        lambda: (
            found_keys(other.post(search, params=asked, content=picture(FIRST + 1), headers=sent))
            == ["1.jpg"]
        ),
        "the new image is found",
    )
    images = f"/v1/collections/{fleet.settings.collection}/images"
    assert one.delete(f"{images}/{image_id_of(bucket, '1.jpg')}").status_code == 204
    assert one.post(f"{path}/pause").json()["code"] == "conflict", "it is over"


def test_every_part_is_named_and_every_request_counted(processes: Sequence[Process]) -> None:
    for process in processes:
        parts = process.http.get("/readyz").json()["parts"]
        assert parts == dict.fromkeys(("model", "index", "ledger", "broker"), "ready")
        assert process.http.get("/readyz", headers={"authorization": ""}).status_code == 200
        assert process.http.get("/v1/jobs", headers={"authorization": ""}).status_code == 401
        assert process.metrics().total("pictor_http_requests_total", method="GET", status="401") == 1


def test_a_key_that_is_revoked_in_the_middle_opens_nothing_on_the_other(
    fleet: Fleet, processes: Sequence[Process], bucket: str
) -> None:
    one, other = (process.http for process in processes)
    made = one.post("/v1/keys", json={"name": "follower", "roles": ["searcher"]}).json()
    job_id = one.post("/v1/jobs", json={"source": f"s3://{bucket}/"}).json()["job_id"]
    one.post(f"/v1/jobs/{job_id}/pause")  # unless it is over: a stream of it would end by itself
    theirs = {"authorization": f"Bearer {made['secret']}"}
    assert other.get("/v1/jobs", headers=theirs).status_code == 200
    assert one.delete(f"/v1/keys/{made['id']}").status_code == 204
    wait_until(lambda: other.get("/v1/jobs", headers=theirs).status_code == 401, "the key opens nothing")


@pytest.mark.outage
def test_services_that_come_back_find_the_processes_well(
    fleet: Fleet,
    bucket: str,
    processes: Sequence[Process],
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    rabbitmq: RabbitMQServer,
) -> None:
    http = processes[0].http
    search = f"/v1/collections/{fleet.settings.collection}/search"
    query = {"query": {"id": "0" * 32}}
    body = {"source": f"s3://{bucket}/"}
    of_ledger = [
        lambda: http.post(search, json=query),
        lambda: http.get("/v1/jobs"),
        lambda: http.post("/v1/jobs", json=body),
    ] * 6
    outages: Sequence[tuple[Server, str, Callable[[], httpx2.Response]]] = (
        (milvus_server, "index", lambda: http.post(search, json=query)),
        (postgres, "ledger", lambda: http.get("/v1/jobs")),
    )
    for server, part, asked in outages:
        with restored(server):
            server.stop()
            away = asked()
            assert (away.status_code, away.headers["retry-after"]) == (503, "1"), away.text
            ready = http.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["parts"][part] != "ready"
        wait_until(
            lambda: http.get("/readyz").status_code == 200, f"{server.kind.name} is seen again", LIMIT_S
        )
        with restored(server), ThreadPoolExecutor(max_workers=CLIENTS) as clients:
            server.freeze()  # it takes connections, and says nothing
            waiting = [clients.submit(ask) for ask in of_ledger] if part == "ledger" else []
            # Without the ledger nobody knows who asks, unless the key is remembered still.
            unknown = {"not_ready"} if part == "ledger" else set()
            assert http.get("/readyz").json()["parts"][part] in {"no answer within 3 s", *unknown}
            assert http.get("/livez").status_code == 200
            for answer in (one.result(LIMIT_S) for one in waiting):
                assert (answer.status_code, answer.headers["retry-after"]) in {(503, "1"), (429, "1")}
                assert answer.elapsed.total_seconds() < FROZEN_S, "a thread is not held for longer"
        wait_until(
            lambda: http.get("/readyz").status_code == 200, f"{server.kind.name} is seen again", LIMIT_S
        )
        assert asked().status_code in (200, 404)
    with restored(rabbitmq):
        rabbitmq.stop()
        job = http.post("/v1/jobs", json=body)
        assert job.status_code == 202, job.text
        wait_until(lambda: http.get("/readyz").json()["parts"]["broker"] != "ready", "it is missed")
        assert http.get("/readyz").status_code == 200, "it is not needed"
    fleet.wait_for_job(job.json()["job_id"])


# The last: it ends the processes


def test_sigterm_answers_what_is_in_flight_and_takes_nothing_new(
    fleet: Fleet, processes: Sequence[Process], admin: str
) -> None:
    """Of those that ask on and on, on connections that stay open, none is cut off."""
    going, staying = processes
    address = urlsplit(str(going.http.base_url))
    body = picture(FIRST + 20)
    path = f"/v1/collections/{fleet.settings.collection}/search/image"
    found = staying.http.post(path, params={"k": 1}, content=body, headers={"content-type": "image/jpeg"})
    asker = Asker(
        where=(str(address.hostname), int(str(address.port))),
        path=path.removesuffix("/image"),
        body=json.dumps({"query": {"id": found.json()["answers"][0]["hits"][0]["id"]}, "k": 1}),
        headers={"Authorization": f"Bearer {admin}", "Content-Type": "application/json"},
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {admin}\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    where = asker.where
    with (
        ThreadPoolExecutor(CLIENTS) as pool,
        closing(socket.create_connection(where, timeout=LIMIT_S)) as half_sent,
    ):
        # First, while no other request is there: those that search take all places that one key may have.
        half_sent.sendall(head.encode() + body[:100])
        wait_until(
            lambda: going.metrics().total("pictor_http_in_flight", kind="requests") == 1, "it is taken"
        )
        asking = [pool.submit(asker.ask_until_refused) for _ in range(CLIENTS)]
        wait_until(lambda: asker.ended["200"] >= CLIENTS, "searches are answered", LIMIT_S)
        going.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _takes_more(where), "it takes nothing new")
        half_sent.sendall(body[100:])
        answer = b"".join(iter(lambda: half_sent.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]
    assert b'"hits":[{' in answer
    assert [one.exception() for one in asking] == [None] * CLIENTS
    assert asker.ended.keys() <= {"200", "429", "refused"}, asker.ended
    assert asker.ended["refused"] == CLIENTS
    assert going.process.wait(LIMIT_S) == 0
    assert staying.http.get("/readyz").status_code == 200


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Says how each request ended, by its status, or "refused", or the error that cut it off."""

    where: tuple[str, int]
    path: str
    body: str
    headers: Mapping[str, str]
    ended: Counter[str] = field(default_factory=Counter)

    def ask_until_refused(self) -> None:
        """On a connection that stays open, and on another one when the service has closed it."""
        connection = http.client.HTTPConnection(*self.where, timeout=LIMIT_S)
        how = ""
        while how in ("", "200", "429"):
            how = self._ask(connection)
            self.ended[how] += 1
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        try:
            connection.request("POST", self.path, body=self.body, headers=self.headers)
            answer = connection.getresponse()
            json.loads(answer.read())
        except ConnectionRefusedError:
            return "refused"
        except (OSError, http.client.HTTPException) as err:
            return repr(err)
        return str(answer.status)


def _takes_more(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where, timeout=1).close()
    except OSError:
        return False
    return True
