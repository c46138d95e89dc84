"""Pairs of AWS clients, and the names that the endpoint gives to collections and faces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.api.rekognition.names import collection_of, id_of_collection, in_ids
from pipeline.errors import ArgumentError, ConfigError
from pipeline.names import check_collection_name
from pipeline.ports.image_rows import view_row_id
from pipeline.service.aws_pairs import access_key_id_of, key_id_in, secret_of
from pipeline.service.face_ids import face_id_of, rows_that_may_be

MASTER = "m" * 32
KEY_ID = "0aB1cD2eF3gH"


def test_a_pair_follows_from_the_key_and_the_master_key_alone() -> None:
    secret = secret_of(KEY_ID, MASTER)
    assert secret == secret_of(KEY_ID, MASTER)
    assert len(secret) == 40
    assert secret not in (secret_of("0aB1cD2eF3gI", MASTER), secret_of(KEY_ID, "n" * 32))


def test_an_access_key_id_is_one_that_clients_take_and_names_its_key() -> None:
    access_key_id = access_key_id_of(KEY_ID)
    assert (len(access_key_id), access_key_id.isalnum()) == (16, True)
    assert key_id_in(access_key_id) == KEY_ID
    for other in ("", "PKIA", KEY_ID, f"AKIA{KEY_ID}", f"{access_key_id}x", f"PKIA{KEY_ID[:-1]}/"):
        assert key_id_in(other) is None


@pytest.mark.parametrize("master", ["", "m" * 31])
def test_a_master_key_that_can_be_guessed_is_refused_and_not_shown(master: str) -> None:
    with pytest.raises(ConfigError, match="32 characters or more") as caught:
        secret_of(KEY_ID, master)
    assert "mmm" not in str(caught.value)


COLLECTION_IDS = st.text("abzAZ019_.-", min_size=1, max_size=30)


@given(COLLECTION_IDS)
def test_a_collection_has_a_name_that_can_be_and_its_id_again(collection_id: str) -> None:
    name = collection_of(collection_id)
    assert check_collection_name(name) == name
    assert id_of_collection(name) == collection_id


@given(COLLECTION_IDS, COLLECTION_IDS)
def test_a_message_has_the_ids_of_collections(one: str, other: str) -> None:
    names = collection_of(one), collection_of(other)
    said = "collection {!r} does not exist; there are: images, {}, x_rk_id".format
    assert in_ids(said(*names)) == said(one, other)


def test_a_command_in_a_message_keeps_the_name() -> None:
    assert in_ids("'rk_idmy_2dx'; see `show rk_idmy_2dx` of rk_idy") == "'my-x'; see `show rk_idmy_2dx` of y"


@given(COLLECTION_IDS, COLLECTION_IDS)
def test_no_two_ids_have_one_name(one: str, other: str) -> None:
    assert (collection_of(one) == collection_of(other)) == (one == other)


def test_a_plain_id_is_the_name_itself_and_one_that_is_too_long_is_refused() -> None:
    assert collection_of("people_2026") == "people_2026"
    assert collection_of("my-people") == "rk_idmy_2dpeople"
    with pytest.raises(ArgumentError):
        collection_of("-" * 255)


@given(st.integers(0, 2**128 - 1), st.integers(0, 99))
def test_a_face_id_says_which_row_it_is(image: int, place: int) -> None:
    row_id = view_row_id(f"{image:032x}", place)
    assert row_id in rows_that_may_be(face_id_of(row_id))


def test_the_first_face_of_an_image_bears_its_id_and_no_two_share_one() -> None:
    image = "0123456789abcdef0123456789abcdef"
    every = [face_id_of(view_row_id(image, place)) for place in range(100)]
    assert every[0].replace("-", "") == image
    assert len(set(every)) == 100
