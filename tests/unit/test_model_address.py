"""What a collection calls a model, and where it finds it again."""

from pathlib import Path

import pytest

from pipeline.adapters.models.model_address import read_address


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody works beside it."""
    (tmp_path / "models" / "clip").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "models" / "clip")
    monkeypatch.chdir(tmp_path / "models")
    return tmp_path / "models" / "clip"


@pytest.mark.parametrize(
    "typed", ["clip", "./clip", "clip/", "clip//", "./clip/.", "../models/clip", "../link", "../link/", "{}"]
)
def test_a_folder_has_one_name_and_one_address_however_it_is_typed(folder: Path, typed: str) -> None:
    address = read_address(typed.format(folder))
    assert address.is_folder
    assert (address.name, address.kept) == ("clip", str(folder))


def test_the_folder_that_somebody_works_in_has_its_own_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert read_address(".").name == "clip"


def test_a_model_file_has_the_name_that_it_gives(folder: Path) -> None:
    (folder / "m.toml").write_text('name = "shop"\narchitecture = "hf"\n')
    address = read_address("clip/../clip/m.toml")
    assert (address.name, address.kept) == ("shop", str(folder / "m.toml"))


@pytest.mark.parametrize("name", ["hf/acme/net", "timm/resnet18", "torchvision/resnet18"])
def test_a_name_of_a_family_stays_one_beside_a_folder_that_is_called_so(folder: Path, name: str) -> None:
    Path(name).mkdir(parents=True)
    address = read_address(name)
    assert not address.is_folder
    assert (address.name, address.kept) == (name, name)
