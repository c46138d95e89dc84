"""Which places a request may name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.places import KNOWN_S, Places
from pipeline.errors import DeniedError
from pipeline.location import Location


def place(bucket: str, prefix: str = "") -> Location:
    return Location(url=f"s3://{bucket}/{prefix}", bucket=bucket, prefix=prefix)


ALLOWED = Places([place("shop", "cam1/"), place("/photos")], known=lambda: [place("known", "a")])

WITHIN = [("shop", "cam1/"), ("shop", "cam1/b.jpg"), ("/photos", "x"), ("/photos/2026", "x"), ("known", "ab")]
OUTSIDE = [
    ("shop", ""),
    ("shop", "cam2/b.jpg"),
    ("shopping", "cam1/b.jpg"),
    ("/photos-of-others", "x"),
    ("/photos/../etc", "x"),
    ("/", "photos/x"),
    ("known", "b"),
    ("photos", "x"),
    ("/photos/\0", "x"),
    ("/photos/\ud800", "x"),
]


@pytest.mark.parametrize(("bucket", "key"), WITHIN)
def test_what_lies_within_may_be_named(bucket: str, key: str) -> None:
    ALLOWED.check_location(place(bucket, key))
    ALLOWED.check_object(bucket, key)


@pytest.mark.parametrize(("bucket", "key"), OUTSIDE)
def test_what_lies_outside_may_not(bucket: str, key: str) -> None:
    with pytest.raises(DeniedError):
        ALLOWED.check_location(place(bucket, key))
    with pytest.raises(DeniedError):
        ALLOWED.check_object(bucket, key)


def test_the_ledger_is_asked_for_known_places_once_a_second() -> None:
    now_s, known, asked = [100.0], [place("known", "a")], []

    def ask() -> list[Location]:
        asked.append(now_s[0])
        return list(known)

    places = Places([place("shop")], ask, clock=lambda: now_s[0])
    for _ in range(50):
        places.check_object("shop", "x")
    assert asked == [], "an allowed place needs no ledger"
    for _ in range(50):
        places.check_object("known", "ab")
    known.append(place("new"))
    with pytest.raises(DeniedError):
        places.check_object("new", "x")
    now_s[0] += KNOWN_S
    places.check_object("new", "x")
    assert asked == [100.0, 101.0]


def test_a_ledger_that_takes_long_is_asked_for_a_twentieth_of_the_time() -> None:
    now_s, asked = [100.0], []

    def ask() -> list[Location]:
        asked.append(now_s[0])
        now_s[0] += 2
        return [place("known", "a")]

    places = Places([], ask, clock=lambda: now_s[0])
    while now_s[0] < 181:
        places.check_object("known", "ab")
        now_s[0] += 0.5
    assert asked == [100.0, 140.0, 180.0]


@given(st.text(), st.text())
def test_no_text_leads_out_of_the_places(bucket: str, key: str) -> None:
    """Whatever is let through lies in a place by the letters of its name."""
    try:
        ALLOWED.check_object(bucket, key)
    except DeniedError:
        return
    inside_shop = bucket == "shop" and key.startswith("cam1/")
    inside_photos = bucket == "/photos" or (bucket.startswith("/photos/") and "/../" not in f"{bucket}/")
    inside_known = bucket == "known" and key.startswith("a")
    assert inside_shop or inside_photos or inside_known


UPLOADS = place("shop", "uploads/")
CONFINED = Places([place("shop"), place("/up")], known=list).confined_to(
    ["shop", "/up*"], lambda: [place("known")], uploads=UPLOADS, tenant="acme"
)
CONFINED_FOLDER = Places([place("/home")], known=list).confined_to(
    ["*"], list, uploads=place("/home/up"), tenant="acme"
)


@pytest.mark.parametrize(("bucket", "key"), [("shop", "cam1/"), ("shop", "uploads/acme/x"), ("/up", "x")])
def test_a_caller_may_name_what_was_granted_and_the_own_uploads(bucket: str, key: str) -> None:
    CONFINED.check_object(bucket, key)


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("known", "x"),
        ("shop", ""),
        ("shop", "up"),
        ("shop", "uploads/"),
        ("shop", "uploads/acme"),
        ("shop", "uploads/acme2/x"),
        ("shop", "uploads/other/x"),
    ],
)
def test_a_caller_may_name_no_other_bucket_and_no_uploads_of_others(bucket: str, key: str) -> None:
    with pytest.raises(DeniedError):
        CONFINED.check_object(bucket, key)


def test_uploads_in_a_folder_are_those_of_their_tenant_alone() -> None:
    CONFINED_FOLDER.check_location(place("/home/up/acme"))
    CONFINED_FOLDER.check_object("/home/up", "acme/x")
    CONFINED_FOLDER.check_location(place("/home/pictures"))
    for bucket in ("/home", "/home/up", "/home/up/other"):
        with pytest.raises(DeniedError):
            CONFINED_FOLDER.check_location(place(bucket))
    with pytest.raises(DeniedError):
        CONFINED_FOLDER.check_object("/home/up", "other/x")


@pytest.mark.parametrize("bucket", ["/home/./up", "/home//up", "/home/up/./other", "//home/up", "/home/up/"])
def test_a_folder_of_uploads_has_no_second_name(bucket: str) -> None:
    for key in ("other/x", "x"):
        with pytest.raises(DeniedError):
            CONFINED_FOLDER.check_object(bucket, key)


def test_a_link_leads_out_of_no_place(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "private")
    places = Places([place(f"{tmp_path}/photos")], known=list)
    places.check_object(f"{tmp_path}/photos", "x")
    with pytest.raises(DeniedError):
        places.check_object(f"{tmp_path}/photos/link", "x")
