"""`pictor serve` as a process of its own, asked over the network and looked at in Chromium."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from pipeline.demo.scenes import draw_scene
from tests.cli import Pictor
from tests.conftest import REPOSITORY, missing
from tests.face_models import DrawnFace, write_face_model
from tests.face_models import picture as draw_faces
from tests.hostile_files import make_hostile_files

PHOTOS = REPOSITORY / "tests" / "data" / "photos"
KNOWN = [f"{number:02}" for number in range(10)]
ANNA, BERTA, CLARA = (DrawnFace(person=n, column=9 * n, row=2) for n in range(3))
LIMIT_S = 120.0
# Of one search, so never the same twice.
RECEIPT = re.compile(r'(?<="receipt": ")[0-9a-f]{32}|"inclusion": \{[^}]*\}')


COMMANDS: Mapping[str, Callable[[Path], tuple[str | Path, ...]]] = {
    "search": lambda folder: ("search", next(folder.glob("03-*")), "-k", "3", "--json"),
    "jobs": lambda _: ("jobs", "list", "--json"),
    "collection": lambda _: ("collections", "show", "images", "--json"),
}


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service."""

    process: "subprocess.Popen[bytes]"
    url: str
    more: Path  # a folder that it may read, and has not indexed
    pictor: Pictor
    before: Mapping[str, str]  # what commands printed before it ran

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, headers=dict(headers or {}))  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:  # noqa: S310
                return answer.status, answer.read()
        except HTTPError as err:
            with err:
                return err.code, err.read()

    def ask_json(self, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        encoded = None if body is None else json.dumps(body).encode()
        status, answer = self.ask(path, encoded, {"content-type": "application/json"})
        return status, json.loads(answer)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    indexed, more = folder / "indexed", folder / "more"
    for place, wanted in ((indexed, KNOWN), (more, ["20", "21"])):
        place.mkdir()
        for photo in PHOTOS.iterdir():
            if photo.name[:2] in wanted:
                shutil.copy(photo, place)
    pictor = Pictor(home=folder / "home", env={})
    pictor("ingest", indexed)
    index_persons(folder, pictor)
    before = {name: pictor(*command(indexed)).out for name, command in COMMANDS.items()}
    process = start(pictor, "--allow", more)
    try:
        yield Service(process=process, url=url_of(process), more=more, pictor=pictor, before=before)
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT_S)


def index_persons(folder: Path, pictor: Pictor) -> None:
    """A collection of faces: one picture of two persons."""
    policy = {"faces": True, "purposes": [{"code": "test", "text": "A test"}], "roles": ["local"]}
    (folder / "policy.json").write_text(json.dumps(policy))
    (folder / "persons").mkdir()
    (folder / "persons" / "both.png").write_bytes(draw_faces([ANNA, BERTA]))
    pictor("policies", "set", "persons", folder / "policy.json")
    model = write_face_model(folder / "model")
    pictor("ingest", folder / "persons", "--collection", "persons", "--model", model)


def start(pictor: Pictor, *options: str | Path) -> "subprocess.Popen[bytes]":
    command = pictor.command(("serve", "--port", "0", *options))
    return subprocess.Popen(command, env=pictor.environment({}), cwd="/", stderr=subprocess.PIPE)


def url_of(process: "subprocess.Popen[bytes]") -> str:
    """The address that it prints once it answers."""
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    found = re.search(r"http://[^ ]+(?=/ )", line)
    assert found, line
    return found[0]


# Over the network


# Commands beside it. They come first, while there is the one job of before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_beside_prints_what_it_printed_without(service: Service, name: str) -> None:
    command = COMMANDS[name](service.more.with_name("indexed"))
    outputs = service.pictor(*command).out, service.before[name]
    here, there = (RECEIPT.sub("", output) for output in outputs)
    assert here == there


def test_an_ingest_beside_names_a_folder_that_nobody_allowed(service: Service, tmp_path: Path) -> None:
    draw_scene(seed=4711).save(tmp_path / "own.png")
    ran = service.pictor("ingest", tmp_path, "--json")
    assert (ran.last["scanned"], ran.last["indexed"]) == (1, 1)
    local = service.pictor("ingest", tmp_path, "--local", code=1)
    assert "another pictor process has the index open" in local.err


def test_a_job_over_http_runs_and_is_followed_to_its_end(service: Service) -> None:
    status, job = service.ask_json("/v1/jobs", {"source": str(service.more)})
    assert status == 202, job
    status, events = service.ask(f"/v1/jobs/{job['job_id']}/events")
    [*_, last] = [line.removeprefix("data: ") for line in events.decode().splitlines() if "data: " in line]
    ended = json.loads(last)
    assert (ended["state"], ended["indexed"]) == ("completed", 2)


def test_the_programs_of_the_client_page_run(service: Service, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "how-to" / "use-the-client.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(programs) == 4
    shutil.copy(next(PHOTOS.glob("04-*")), tmp_path / "query.jpg")
    script = "\n".join([f"SOURCE = {str(service.more)!r}", *programs])
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=service.pictor.environment({"PICTOR_API": service.url}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "04-" in ran.stdout.splitlines()[0]
    assert "completed 2 of 2" in ran.stdout
    assert ran.stdout.count("3 hits") == 1


def test_an_assistant_finds_images_over_standard_input_and_output(service: Service) -> None:
    command, *arguments = service.pictor.command(("mcp",))
    program = StdioServerParameters(command=command, args=arguments, env=service.pictor.environment({}))

    async def ask(*folders: Path) -> list[CallToolResult]:
        queries = [str(next(folder.glob("03-*"))) for folder in folders]
        async with Client(program, read_timeout_seconds=LIMIT_S) as client:
            return [await client.call_tool("search_images", {"query": query, "k": 1}) for query in queries]

    answered, refused = anyio.run(ask, service.more.with_name("indexed"), PHOTOS)
    assert answered.structured_content is not None, answered.content
    assert answered.structured_content["hits"][0]["key"].startswith("03-")
    assert refused.is_error, "it may read no folder but those of the service, although its user could"
    assert "denied" in str(refused.content)


def test_a_folder_that_nobody_allowed_is_not_read(service: Service) -> None:
    status, problem = service.ask_json("/v1/jobs", {"source": "/etc"})
    assert (status, problem["code"]) == (403, "denied")


def test_no_hostile_file_is_more_than_a_refusal(service: Service) -> None:
    statuses = {
        file.name: service.ask("/v1/collections/images/search/image?k=1", file.body)[0]
        for file in make_hostile_files()
    }
    assert {name: status for name, status in statuses.items() if status not in (200, 413, 422)} == {}
    assert set(statuses.values()) >= {200, 422}
    assert service.ask("/livez")[0] == 200


def test_half_a_request_keeps_nobody_waiting(service: Service) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100\r\n\r\n{{".encode()
    halves = [socket.create_connection((host, int(port)), timeout=LIMIT_S) for _ in range(40)]
    try:
        for half in halves[:20]:
            half.sendall(head)
        assert service.ask("/v1/collections")[0] == 200
        assert service.ask("/readyz")[0] == 200
    finally:
        for half in halves:
            half.close()


def test_a_port_in_use_is_said(service: Service, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    ran = Pictor(home=tmp_path, env={})("serve", "--port", port, code=2)
    assert f"127.0.0.1:{port} cannot be listened on" in ran.err
    assert "Traceback" not in ran.err


def test_an_address_that_others_reach_is_refused(tmp_path: Path) -> None:
    ran = Pictor(home=tmp_path, env={})("serve", "--host", "0.0.0.0", code=2)  # noqa: S104
    assert "a loopback address is expected" in ran.err


def test_sigterm_answers_what_is_in_flight_and_ends_well(tmp_path: Path) -> None:
    process = start(Pictor(home=tmp_path, env={}))
    try:
        url = url_of(process)
        assert urllib.request.urlopen(url + "/readyz", timeout=LIMIT_S).status == 200  # noqa: S310
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors


# In Chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        missing("chromium is not installed; python -m devstack install brings it")
    # Root has no sandbox of Chromium's, and the pages are ours.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A page whose script must not complain."""
    page = browser.new_page(base_url=service.url)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield page
    page.close()
    assert complaints == []


def test_a_chosen_picture_finds_itself_and_the_threshold_redraws(page: Page) -> None:
    photo = next(PHOTOS.glob("03-*"))
    page.goto("/")
    page.set_input_files("#file", photo)
    first = page.locator(".hits li").first
    expect(first).to_contain_text(photo.name, timeout=LIMIT_S * 1000)
    every = page.locator(".hits li:visible").count()
    page.locator("#threshold").fill("0.99")
    expect(page.locator("#count")).to_have_text("1 image")
    assert every > 1
    assert page.locator(".hits li:visible").count() == 1


def test_more_like_this_is_a_link_that_can_be_kept(page: Page) -> None:
    page.goto("/")
    page.set_input_files("#file", next(PHOTOS.glob("05-*")))
    page.locator(".hits li").nth(1).locator("a").click(timeout=LIMIT_S * 1000)
    page.wait_for_url(re.compile(r"id=[0-9a-f]{32}"))
    expect(page.locator(".example img")).to_be_visible()
    link = page.url
    page.goto(link)
    shown = page.locator(".hits img")
    assert shown.count() > 1
    shown.last.scroll_into_view_if_needed()
    expect(shown.last).to_have_js_property("complete", True)
    assert shown.last.evaluate("image => image.naturalWidth") > 0


def test_a_face_is_chosen_and_found_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    probe = tmp_path / "probe.png"
    probe.write_bytes(draw_faces([BERTA, CLARA]))
    page.goto("/?collection=persons")
    page.set_input_files("#file", probe)
    face = page.locator("button.face")
    expect(face).to_have_count(2, timeout=LIMIT_S * 1000)
    expect(face.first).to_be_focused(timeout=LIMIT_S * 1000)  # once the faces are drawn
    assert face.first.locator("img").evaluate("image => image.naturalWidth") == 240
    page.keyboard.press("Enter")
    expect(page.locator("#purpose")).to_be_focused()  # nobody is looked for before it is said why
    page.keyboard.press("ArrowDown")
    face.first.focus()
    page.keyboard.press("Enter")
    hit = page.locator(".hits li")
    expect(hit).to_have_count(1, timeout=LIMIT_S * 1000)  # the floor of the policy leaves the other one out
    expect(hit).to_contain_text("both.png")
    expect(hit.locator("rect")).to_have_attribute("x", str(BERTA.left))
    assert face.nth(0).get_attribute("aria-pressed") == "true"
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_two_pictures_are_compared_by_keyboard_alone(page: Page) -> None:
    page.goto("/")
    page.set_input_files("#file", next(PHOTOS.glob("05-*")))
    second = page.locator(".hits li").nth(1)
    second.locator("[data-compare]").focus(timeout=LIMIT_S * 1000)
    page.keyboard.press("Enter")
    right, left = page.locator("#right figcaption"), page.locator("#left figcaption")
    expect(left).to_contain_text("Your picture")
    first_key, second_key = (page.locator(".hits .key").nth(place).inner_text() for place in (0, 1))
    expect(right).to_contain_text(second_key)
    page.keyboard.press("l")
    page.keyboard.press("ArrowLeft")
    expect(left).to_contain_text(second_key)
    expect(right).to_contain_text(first_key)
    page.keyboard.press("Escape")
    expect(page.locator("#compare")).not_to_be_visible()


def test_a_file_that_is_no_picture_is_said_on_the_page(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "a.jpg"
    text.write_text("hello")
    page.goto("/")
    page.set_input_files("#file", text)
    expect(page.get_by_role("alert")).to_contain_text("not_an_image", timeout=LIMIT_S * 1000)


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/audit", "/audit/entries/0", "/audit/review", "/docs", "/problems"]
)
def test_no_page_is_wider_than_a_phone(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_search_is_reached_by_keyboard_alone(page: Page) -> None:
    page.goto("/")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert [name for name in ("file", "collection", "prefix", "id") if name not in reached] == []


# The auditor's pages


def prove_on_page(page: Page, service: Service, entry: int = 0) -> None:
    """Open an entry. There is a search at least, which is made here."""
    service.pictor("search", next(PHOTOS.glob("03-*")))
    page.goto(f"/audit/entries/{entry}")


def test_a_proof_is_checked_in_the_browser(page: Page, service: Service) -> None:
    prove_on_page(page, service)
    expect(page.locator("#verdict")).to_have_text("Proved: checked in this browser.")
    expect(page.locator("#checks li.good")).to_have_count(3)


ALTERED: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "record": ("**/audit/entries/0", lambda body: body.replace("&#34;allowed&#34;", "&#34;refused&#34;")),
    "salt": ("**/entries/0/proof", lambda body: re.sub("(?<=extra )....", "AAAA", body)),
    "index": ("**/entries/0/proof", lambda body: body.replace("index 0", "index 1")),
    "hash": ("**/entries/0/proof", lambda body: re.sub(r"(?<=index 0\n)....", "AAAA", body)),
    "size": ("**/entries/0/proof", lambda body: re.sub(r"(?<=\n)\d+(?=\n[^\n]+\n\n—)", "9999", body)),
    "signature": ("**/entries/0/proof", lambda body: re.sub(r"..==?\n$|...\n$", "AAA=\n", body)),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_what_somebody_has_altered_is_not_proved(page: Page, service: Service, what: str) -> None:
    pattern, altered = ALTERED[what]

    def alter(route: Route) -> None:
        answer = route.fetch()
        body = altered(answer.text())
        assert body != answer.text()
        route.fulfill(response=answer, body=body)

    page.route(pattern, alter)
    prove_on_page(page, service)
    expect(page.locator("#verdict")).to_contain_text("Not proved")
    expect(page.locator("#verdict")).to_have_class("verdict bad")


def test_a_key_that_is_not_the_log_s_does_not_prove(page: Page, service: Service) -> None:
    prove_on_page(page, service)
    expect(page.locator("#verdict")).to_have_class("verdict good")
    own = page.locator("#vkey").input_value()
    page.locator("#vkey").fill("other.example" + own[own.index("+") :])
    page.keyboard.press("Tab")
    expect(page.locator("#verdict")).to_have_class("verdict bad")
    page.reload()
    expect(page.locator("#verdict")).to_have_class("verdict bad")
    page.locator("#vkey").fill("")
    page.keyboard.press("Tab")
    expect(page.locator("#verdict")).to_have_class("verdict good")


def test_a_browser_without_ed25519_says_what_it_did_not_check(page: Page, service: Service) -> None:
    page.add_init_script(
        "const real = crypto.subtle.importKey.bind(crypto.subtle);"
        "crypto.subtle.importKey = (format, key, kind, ...more) => kind.name === 'Ed25519'"
        " ? Promise.reject(new DOMException('', 'NotSupportedError')) : real(format, key, kind, ...more);"
    )
    prove_on_page(page, service)
    expect(page.locator("#verdict")).to_have_text(
        "The entry is in the tree, and who signed the tree was not checked."
    )
    expect(page.locator("#checks li.wait")).to_contain_text("since version 137")


def test_who_searched_for_a_picture_is_found_without_sending_it(page: Page, service: Service) -> None:
    service.pictor("search", next(PHOTOS.glob("03-*")))
    page.goto("/audit")
    page.set_input_files("#picture", next(PHOTOS.glob("03-*")))
    expect(page.get_by_role("columnheader", name="The person")).to_be_visible(timeout=LIMIT_S * 1000)
    assert page.url == f"{service.url}/audit", "no digest stands in the address"
    assert page.locator("tbody tr").count() >= 1
    assert set(page.locator("tbody td:nth-child(3)").all_inner_texts()) == {"search"}


def test_an_entry_is_reached_by_keyboard_alone(page: Page, service: Service) -> None:
    prove_on_page(page, service)
    page.goto("/audit?kind=search")
    for _ in range(60):
        page.keyboard.press("Tab")
        if "/audit/entries/" in (page.evaluate("document.activeElement.href") or ""):
            break
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/audit/entries/\d+$"))
    expect(page.locator("#verdict")).to_have_class("verdict good")


# With keys


def test_somebody_signs_in_with_a_key_and_out_again(browser: Browser, tmp_path: Path) -> None:
    pictor = Pictor(home=tmp_path / "home", env={})
    key = pictor("keys", "create", "me", "--role", "searcher").out.strip()
    process = start(pictor, "--keys")
    page = browser.new_page(base_url=url_of(process), viewport={"width": 360, "height": 800})
    try:
        page.goto("/jobs")
        _sign_in(page, "wrong")
        expect(page.get_by_role("alert")).to_contain_text("not known", timeout=LIMIT_S * 1000)
        _sign_in(page, key)
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible(timeout=LIMIT_S * 1000)
        assert page.evaluate("document.cookie") == ""  # no script reads the session
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Key")).to_be_visible(timeout=LIMIT_S * 1000)
        page.goto("/jobs")
        expect(page.get_by_label("Key")).to_be_visible()
    finally:
        page.close()
        process.terminate()
        process.communicate(timeout=LIMIT_S)


def _sign_in(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")


# With a policy, which the tests before this one do without


def test_a_match_is_verified_by_keyboard_alone(browser: Browser, service: Service, tmp_path: Path) -> None:
    policy = {"purposes": [{"code": "theft", "text": "Theft"}], "roles": ["local"], "verifications": 1}
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    service.pictor("policies", "set", "images", file)
    picture = next(PHOTOS.glob("03-*")).read_bytes()
    told: dict[str, Any] = {}
    deadline = time.monotonic() + LIMIT_S  # a policy holds a moment after it is set
    while not told.get("to_verify") and time.monotonic() < deadline:
        asked = {"content-type": "application/octet-stream", "x-pictor-purpose": "theft"}
        status, answer = service.ask("/v1/collections/images/search/image?k=1", picture, asked)
        assert status == 200, answer
        told = json.loads(answer)["answers"][0]
    page = browser.new_page(
        base_url=service.url,
        viewport={"width": 360, "height": 800},
        color_scheme="dark",
        extra_http_headers={"X-Pictor-On-Behalf-Of": "Insp. Roe"},
    )
    try:
        page.goto("/verify?collection=images")  # a face waits in another one
        for name in ("What was searched with", "Candidate 1"):
            expect(page.get_by_role("img", name=name)).to_be_visible(timeout=LIMIT_S * 1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.keyboard.press("y")
        page.keyboard.type("you see it: the same")  # letters that are keys elsewhere
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("confirmed", timeout=LIMIT_S * 1000)
    finally:
        page.close()
    status, answer = service.ask(f"/v1/searches/{told['receipt']}")
    assert [match["state"] for match in json.loads(answer)["matches"]] == ["confirmed"]
