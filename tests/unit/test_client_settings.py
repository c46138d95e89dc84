"""The settings of a client mean what `pipeline.settings` says of them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.client_settings import ClientSettings
from pipeline.errors import ConfigError
from pipeline.settings import Settings

SECRETS = ("api_key", "ledger_url", "broker_url")
PLAIN = ("home", "collection", "api", "milvus_uri")
VARIABLES = [f"PICTOR_{name.upper()}" for name in (*SECRETS, *PLAIN)]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        dict.fromkeys(VARIABLES, ""),
        {name: f"https://{name.lower()}.example" for name in VARIABLES},
        {"XDG_DATA_HOME": "/xdg"},
        {"PICTOR_SECRETS_DIR": "{folder}"},
        {"PICTOR_SECRETS_DIR": "{folder}", "PICTOR_API_KEY": "another"},
    ],
    ids=["none", "empty", "all", "XDG", "secrets", "both"],
)
def test_they_are_the_same_by_both_readers(
    environ: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PICTOR_API_KEY").write_text("of a file\n")
    for name in (*VARIABLES, "XDG_DATA_HOME", "PICTOR_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    quick, whole = ClientSettings.from_env(), Settings.from_env()
    assert {name: getattr(quick, name) for name in PLAIN} == {name: getattr(whole, name) for name in PLAIN}
    assert {name: getattr(quick, name) for name in SECRETS} == {
        name: getattr(whole, name).get_secret_value() for name in SECRETS
    }
    assert "of a file" not in repr(quick)


def test_a_folder_of_secrets_that_is_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTOR_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="PICTOR_SECRETS_DIR"):
        ClientSettings.from_env()
