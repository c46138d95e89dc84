"""The environment, read once."""

import os
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import SecretStr, ValidationError

from docs.make_settings import PAGE, make_page
from pipeline.errors import ConfigError
from pipeline.names import check_collection_name
from pipeline.settings import Settings

S3_STANDARD = {
    "AWS_ENDPOINT_URL": "https://objects.example",
    "AWS_ACCESS_KEY_ID": "standard-access",
    "AWS_SECRET_ACCESS_KEY": "standard-secret",
    "AWS_SESSION_TOKEN": "standard-token",
    "AWS_REGION": "eu-west-1",
}
SECRETS = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("PICTOR_", "AWS_", "XDG_")):
            monkeypatch.delenv(name)


def with_env(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings.from_env()


def test_nothing_need_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_env(monkeypatch, HOME="/home/me")
    assert settings.home == Path("/home/me/.local/share/pictor")
    assert settings.milvus_target == "/home/me/.local/share/pictor/milvus.db"
    assert settings.ledger_target == "sqlite:////home/me/.local/share/pictor/ledger.db"
    assert settings.weights_dir == Path("/home/me/.local/share/pictor/models")


def test_everything_lives_below_home_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_env(monkeypatch, XDG_DATA_HOME="/data").home == Path("/data/pictor")
    settings = with_env(monkeypatch, PICTOR_HOME="/srv/pictor")
    assert settings.milvus_target == "/srv/pictor/milvus.db"
    assert settings.weights_dir == Path("/srv/pictor/models")
    settings = with_env(
        monkeypatch, PICTOR_MILVUS_URI="http://milvus:19530", PICTOR_LEDGER_URL="postgresql://db/pictor"
    )
    assert settings.milvus_target == "http://milvus:19530"
    assert settings.ledger_target == "postgresql://db/pictor"


def usable_value(name: str, default: object) -> str:
    """A value within the limits of any number, or another one of the words that are allowed."""
    words = [word for word in get_args(Settings.model_fields[name].annotation) if isinstance(word, str)]
    if words:
        return next(word for word in words if word != default)
    return {"decode_budget_bytes": "2000000", "model_store": "s3://models"}.get(name, "13")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_field_is_the_variable_that_bears_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    default = getattr(Settings.from_env(), name)
    value = str(tmp_path) if name == "secrets_dir" else usable_value(name, default)
    changed = getattr(with_env(monkeypatch, **{f"PICTOR_{name.upper()}": value}), name)
    assert changed != default
    assert (changed.get_secret_value() if isinstance(changed, SecretStr) else str(changed)) in (value, "13.0")


def test_s3_settings_fall_back_to_the_standard_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_env(monkeypatch, **S3_STANDARD)
    assert settings.s3_endpoint == "https://objects.example"
    assert settings.s3_access_key.get_secret_value() == "standard-access"
    assert settings.s3_secret_key.get_secret_value() == "standard-secret"
    assert settings.s3_session_token.get_secret_value() == "standard-token"
    assert settings.s3_region == "eu-west-1"


def test_the_more_specific_standard_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_env(
        monkeypatch,
        AWS_ENDPOINT_URL="https://all.example",
        AWS_ENDPOINT_URL_S3="https://s3.example",
        AWS_DEFAULT_REGION="us-west-2",
    )
    assert settings.s3_endpoint == "https://s3.example"
    assert settings.s3_region == "us-west-2"
    assert with_env(monkeypatch, AWS_REGION="eu-west-1").s3_region == "eu-west-1"


def test_our_own_variable_wins_over_the_standard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_env(monkeypatch, **S3_STANDARD, PICTOR_S3_ENDPOINT="http://minio:9000")
    assert settings.s3_endpoint == "http://minio:9000"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_env(
        monkeypatch, **S3_STANDARD, PICTOR_S3_REGION="", PICTOR_BATCH_ITEMS="", PICTOR_COLLECTION=""
    )
    assert settings.s3_region == "eu-west-1"
    assert settings.batch_items == 64
    assert settings.collection == "images"


# Secrets in files


def secret_files(folder: Path, **secrets: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in secrets.items():
        (folder / name).write_text(text)
    return str(folder)


def test_each_secret_may_stand_in_a_file_that_bears_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {f"PICTOR_{name.upper()}": f"from-file-{name}\n" for name in SECRETS}
    settings = with_env(monkeypatch, PICTOR_SECRETS_DIR=secret_files(tmp_path, **files))
    assert {name: getattr(settings, name).get_secret_value() for name in SECRETS} == {
        name: f"from-file-{name}" for name in SECRETS
    }


def test_a_variable_wins_over_a_file_and_an_empty_file_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = secret_files(tmp_path, PICTOR_BROKER_URL="amqp://file", PICTOR_MILVUS_TOKEN=" \n")
    settings = with_env(monkeypatch, PICTOR_SECRETS_DIR=folder, PICTOR_BROKER_URL="amqp://variable")
    assert settings.broker_url.get_secret_value() == "amqp://variable"
    assert settings.milvus_token.get_secret_value() == ""


def test_an_access_key_in_a_file_is_not_completed_by_the_standard_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = secret_files(tmp_path, PICTOR_S3_ACCESS_KEY="ours", PICTOR_S3_SECRET_KEY="ours-too")
    settings = with_env(monkeypatch, PICTOR_SECRETS_DIR=folder, **S3_STANDARD)
    assert settings.s3_access_key.get_secret_value() == "ours"
    assert settings.s3_secret_key.get_secret_value() == "ours-too"
    assert settings.s3_session_token.get_secret_value() == ""


def test_only_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = secret_files(tmp_path, PICTOR_COLLECTION="other", PICTOR_BATCH_ITEMS="13")
    settings = with_env(monkeypatch, PICTOR_SECRETS_DIR=folder)
    assert (settings.collection, settings.batch_items) == ("images", 64)


def test_a_folder_or_file_of_secrets_that_cannot_be_read_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"PICTOR_SECRETS_DIR: .*/absent is not a folder"):
        with_env(monkeypatch, PICTOR_SECRETS_DIR=str(tmp_path / "absent"))
    (tmp_path / "PICTOR_BROKER_URL").write_bytes(b"hunter2\xff")
    with pytest.raises(ConfigError, match=r"PICTOR_BROKER_URL: UnicodeDecodeError") as caught:
        with_env(monkeypatch, PICTOR_SECRETS_DIR=str(tmp_path))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_all_unusable_variables_are_named_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        with_env(
            monkeypatch,
            PICTOR_BATCH_ITEMS="hunter2",
            PICTOR_S3_TIMEOUT_S="hunter3",
            PICTOR_VECTOR_TYPE="hunter4",
            PICTOR_FETCH_THREADS="-1",
        )
    text = str(caught.value)
    for name in ("PICTOR_BATCH_ITEMS", "PICTOR_S3_TIMEOUT_S", "PICTOR_VECTOR_TYPE", "PICTOR_FETCH_THREADS"):
        assert name in text
    assert "hunter" not in text
    assert caught.value.__cause__ is None, "the traceback would show the values"


CHOSEN = [
    name
    for name, field in Settings.model_fields.items()
    if get_origin(field.annotation) is Literal or field.annotation in (int, float) or name == "model_store"
]


@pytest.mark.parametrize("found", ["rubbish", "-7", "nan", "1e999"])
@pytest.mark.parametrize("name", CHOSEN)
def test_a_bad_value_is_said_in_our_words(monkeypatch: pytest.MonkeyPatch, name: str, found: str) -> None:
    """Name, what was found, and what is allowed; none of it as the library says it."""
    variable = f"PICTOR_{name.upper()}"
    with pytest.raises(ConfigError) as caught:
        with_env(monkeypatch, **{variable: found})
    shown = found if found == "-7" else f"a text of {len(found)} characters"
    said = re.fullmatch(rf"{variable}: found {shown}, expected (.+)", str(caught.value))
    assert said
    words = get_args(Settings.model_fields[name].annotation)
    assert all(word in said[1] for word in words)
    assert words or re.fullmatch(
        r"(a whole number|a number) (over 0|of \d+ or more|from \d+ to \d+)|s3://bucket/prefix", said[1]
    )


def test_a_setting_that_is_too_large_names_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"PICTOR_S3_ATTEMPTS: found 21, expected a whole number from 1 to 20$"
    ):
        with_env(monkeypatch, PICTOR_S3_ATTEMPTS="21")


def test_secrets_are_not_shown_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(SECRETS) >= {
        "ledger_url",
        "milvus_token",
        "s3_access_key",
        "s3_secret_key",
        "s3_session_token",
    }
    settings = with_env(monkeypatch, **{f"PICTOR_{name.upper()}": "hunter2" for name in SECRETS})
    assert settings.s3_secret_key.get_secret_value() == "hunter2"
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hunter2" not in text


def test_there_is_no_default_password() -> None:
    settings = Settings.from_env()
    assert [getattr(settings, name).get_secret_value() for name in SECRETS] == [""] * len(SECRETS)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings.from_env().batch_items = 1


@pytest.mark.parametrize("name", ["images", "a", "_x", "Cam_1", "x" * 100])
def test_a_usable_collection_name_is_returned(name: str) -> None:
    assert check_collection_name(name) == name


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "a__b", "é", "a\n", "x" * 101, "a'; drop"])
def test_an_unusable_collection_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="collection name"):
        check_collection_name(name)


def test_the_settings_document_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == make_page(), "run: make settings-doc"


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
