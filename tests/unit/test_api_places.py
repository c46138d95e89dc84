"""Which places a request may name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.places import Places
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
