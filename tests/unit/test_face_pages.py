"""The pages of a collection of faces: those of a picture, a search for one of them, and pairs to verify."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipeline.api.backend import Backend
from pipeline.image.face_picture import MARGIN, make_face_picture
from pipeline.ports import Deps, ImageEmbedder, ImageLimits
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.types import FaceOutline, KeyRole, image_id_of
from tests.face_models import picture
from tests.unit import face_world
from tests.unit.api_client import client_with_keys, key_for
from tests.unit.face_world import ANNA, BERTA, LARGE, deps_of_faces, index_faces
from tests.unit.fakes import BUCKET, COLLECTION

STATED = {"x-pictor-purpose": "test", "x-pictor-case": "AB-1"}
HERE = {"collection": COLLECTION}

model_file, face_embedder = face_world.model_file, face_world.face_embedder
backend, client = face_world.backend, face_world.client


@pytest.fixture
def deps(deps: Deps, model_file: Path, face_embedder: ImageEmbedder) -> Deps:
    made = deps_of_faces(deps, model_file, face_embedder)
    index_faces(made, {"group.png": [LARGE, ANNA, BERTA]})
    return made


def searches(log: MemoryAuditLog) -> int:
    return sum(entry.found_by["kind"] == "search" for entry in log.entries())


def test_the_page_of_faces_asks_why_and_has_its_script(client: TestClient) -> None:
    page = client.get("/", params=HERE).text
    assert re.search(r'<script src="/static/faces\.js" defer>', page)
    assert re.search(r'<select name="purpose" id="purpose" required>', page)
    assert re.search(r'<input name="case"[^>]* required>', page)
    assert '<div id="faces"' in page


def test_the_faces_of_a_picture_are_shown_and_nobody_is_looked_for(
    client: TestClient, log: MemoryAuditLog
) -> None:
    shown = client.post("/faces", params=HERE, content=picture([ANNA, LARGE])).text
    boxes = [f"{face.left},{face.top},{face.side_px},{face.side_px}" for face in (LARGE, ANNA)]
    assert re.findall(r'data-box="([\d,]+)"', shown) == boxes
    assert re.findall(r'<rect data-face="(\d)" x="(\d+)"', shown) == [
        ("1", str(LARGE.left)),
        ("2", str(ANNA.left)),
    ]
    assert 'viewBox="0 0 320 240"' in shown
    assert re.findall(r"\son\w+=|style=", shown) == []
    assert searches(log) == 0
    nobody = client.post("/faces", params=HERE, content=picture([]))
    assert (nobody.status_code, "no face" in nobody.text) == (200, True)
    for content, status in ((b"no picture", 422), (picture([ANNA]), 404)):
        where = HERE if status == 422 else {"collection": "none"}
        refused = client.post("/faces", params=where, content=content)
        assert (refused.status_code, 'role="alert"' in refused.text) == (status, True)


def test_who_may_not_search_is_shown_no_faces(backend: Backend) -> None:
    with client_with_keys(backend) as asked:
        for role, status in ((KeyRole.SEARCHER, 200), (KeyRole.AUDITOR, 403), (KeyRole.VERIFIER, 403)):
            headers = key_for(backend, role)
            answer = asked.post("/faces", params=HERE, content=picture([ANNA]), headers=headers)
            assert answer.status_code == status, role


def test_the_chosen_face_is_searched_for_alone_and_its_hits_have_boxes(
    client: TestClient, log: MemoryAuditLog
) -> None:
    box = f"{ANNA.left},{ANNA.top},{ANNA.side_px},{ANNA.side_px}"
    asked: dict[str, Any] = {"params": HERE | {"box": box}, "content": picture([ANNA, LARGE])}
    refused = client.post("/results", **asked)
    assert (refused.status_code, "purpose_missing" in refused.text) == (403, True)
    shown = client.post("/results", **asked, headers=STATED).text
    assert len(re.findall(r"<li data-score", shown)) == 1, "the floor of the policy holds"
    assert re.findall(r'<rect x="(\d+)"', shown) == [str(ANNA.left)]
    assert "only_face=true" in shown
    assert "To be verified by 2 persons" in shown
    assert searches(log) == 2  # the refusal is one
    for wrong in ("1,2,3", "a,b,c,d", "-1,0,1,1"):
        answer = client.post("/results", params=HERE | {"box": wrong}, content=b"", headers=STATED)
        assert answer.status_code == 422


def test_every_face_of_a_stored_image_has_its_hits(client: TestClient, log: MemoryAuditLog) -> None:
    asked = HERE | {"id": image_id_of(BUCKET, "group.png"), "purpose": "test", "case": "AB-1"}
    page = client.post("/", data=asked)
    assert page.status_code == 200, page.text
    assert re.findall(r"<h2>(Face \d of \d)</h2>", page.text) == [f"Face {n} of 3" for n in (1, 2, 3)]
    assert searches(log) == 3


# Pictures of one face


def face_picture_of(client: TestClient, address: str, **more: Any) -> Image.Image:
    answer = client.get(address, params={"side_px": 96, "only_face": "true"}, **more)
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def test_the_picture_of_a_row_is_of_its_face_where_that_is_wanted(client: TestClient) -> None:
    base = f"/v1/collections/{COLLECTION}/images/{image_id_of(BUCKET, 'group.png')}"
    alone = face_picture_of(client, f"{base}:00/thumbnail")
    assert alone.size == (96, 96)
    expected = Image.open(io.BytesIO(picture([LARGE, ANNA, BERTA]))).convert("RGB").crop(around(LARGE))
    difference = np.asarray(alone, np.int16) - np.asarray(expected.resize((96, 96)), np.int16)
    assert np.abs(difference).mean() < 8
    whole = Image.open(io.BytesIO(client.get(f"{base}:00/thumbnail", params={"side_px": 96}).content))
    assert whole.size == (96, 72)


def around(face: Any) -> tuple[int, int, int, int]:
    half = int(MARGIN * face.side_px / 2)
    x, y = face.left + face.side_px // 2, face.top + face.side_px // 2
    return x - half, y - half, x + half, y + half


@pytest.mark.parametrize("roll", [-30.0, 0.0, 20.0])
@pytest.mark.parametrize("width", [640, 6400])
def test_a_face_that_leans_is_turned_upright(roll: float, width: int) -> None:
    """The eyes of the drawn face, red and blue, come to lie side by side."""
    unit = width // 64
    middle = np.array([32 * unit, 24 * unit])
    turn = np.radians(roll)
    along = np.array([np.cos(turn), np.sin(turn)]) * 5 * unit
    drawn = np.full((48 * unit, width, 3), 255, np.uint8)
    for eye, colour in ((middle - along, (255, 0, 0)), (middle + along, (0, 0, 255))):
        x, y = np.rint(eye).astype(int)
        drawn[y - unit : y + unit, x - unit : x + unit] = colour
    body = io.BytesIO()
    Image.fromarray(drawn).save(body, "PNG")
    outline = FaceOutline(share=(22 / 64, 14 / 48, 20 / 64, 20 / 48), roll=roll)
    made = make_face_picture(body.getvalue(), outline, limits=ImageLimits(), side_px=120)
    crop = np.asarray(Image.open(io.BytesIO(made)).convert("RGB"), np.int16)
    red, blue = (centre_of(crop, channel) for channel in (0, 2))
    assert red == pytest.approx((40, 60), abs=1.5)
    assert blue == pytest.approx((80, 60), abs=1.5)


def centre_of(crop: Any, channel: int) -> tuple[float, float]:
    others = [other for other in range(3) if other != channel]
    ys, xs = np.nonzero((crop[..., channel] > 150) & (crop[..., others].max(axis=-1) < 110))
    return float(xs.mean()) + 0.5, float(ys.mean()) + 0.5


# Verifying


@pytest.mark.parametrize("by", ["upload", "stored"])
def test_both_faces_of_a_match_are_shown_alone_and_in_their_pictures(
    backend: Backend, client: TestClient, by: str
) -> None:
    body = picture([BERTA])
    where = f"/v1/collections/{COLLECTION}/search"
    if by == "upload":
        answer = client.post(f"{where}/image", content=body, headers=STATED)
    else:
        row = f"{image_id_of(BUCKET, 'group.png')}:02"
        answer = client.post(where, json={"query": {"id": row}}, headers=STATED)
    match = f"{answer.json()['answers'][0]['receipt']}-1"
    other = {"x-pictor-on-behalf-of": "Insp. Roe"}
    page = client.get("/verify", params={"match": match}, headers=other).text
    assert page.count("only_face=true") == 2
    boxes = [tuple(map(float, found)) for found in re.findall(r'<rect x="([^"]*)" y="([^"]*)"', page)]
    assert boxes == [pytest.approx((BERTA.left / 320, BERTA.top / 240), abs=1e-6)] * 2
    assert "The face that was searched for" in page
    alone = face_picture_of(client, f"/v1/verifications/{match}/probe", headers=other)
    assert alone.size == (96, 96)


def test_a_candidate_that_is_gone_leaves_the_other_face(backend: Backend, client: TestClient) -> None:
    answer = client.post(
        f"/v1/collections/{COLLECTION}/search/image", content=picture([BERTA]), headers=STATED
    )
    match = f"{answer.json()['answers'][0]['receipt']}-1"
    backend.index.delete_images(backend.index.live(COLLECTION), [image_id_of(BUCKET, "group.png")])
    page = client.get("/verify", params={"match": match}, headers={"x-pictor-on-behalf-of": "Insp. Roe"}).text
    assert "not in the collection any more" in page
    assert page.count("only_face=true") == 1
