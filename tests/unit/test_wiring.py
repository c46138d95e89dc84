"""Who drives a job that this process runs, and where its lock is."""

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline import wiring
from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.testing.memory_index import MemoryIndex
from pipeline.types import embedded_on
from tests.face_models import write_face_model


def test_a_job_run_here_is_driven_by_this_host(tmp_path: Path) -> None:
    assert wiring.driver_here(Settings(home=tmp_path / "new")) == embedded_on(socket.gethostname())


def test_a_home_keeps_its_host_where_host_names_change(tmp_path: Path) -> None:
    """A container's name is another at each start; its home is a volume."""
    wiring.driver_here(Settings(home=tmp_path))
    (tmp_path / "host").write_text("0a1b2c3d4e5f\n")
    assert wiring.driver_here(Settings(home=tmp_path)) == "embedded:0a1b2c3d4e5f"


def test_a_host_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    with pytest.raises(ConfigError, match="host cannot be read or written"):
        wiring.driver_here(Settings(home=tmp_path))


@pytest.mark.parametrize("home", ["one", "another"])
def test_locks_are_beside_a_ledger_that_is_a_file(tmp_path: Path, home: str) -> None:
    shared = SecretStr(f"sqlite:///{tmp_path}/shared/ledger.db")
    assert wiring.job_locks(Settings(home=tmp_path / home, ledger_url=shared)) == tmp_path / "shared/locks"


def test_locks_are_in_the_home_with_a_ledger_of_its_own_or_on_a_server(tmp_path: Path) -> None:
    server = SecretStr("postgresql://user:password@host/database")
    assert wiring.job_locks(Settings(home=tmp_path)) == tmp_path / "locks"
    assert wiring.job_locks(Settings(home=tmp_path, ledger_url=server)) == tmp_path / "locks"


def test_a_load_writes_through_the_one_opening_of_a_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with (
        wiring.open_index(settings) as index,
        wiring.open_index_of_loads(settings, index) as of_loads,
    ):
        assert of_loads is index


def test_a_load_has_a_connection_of_its_own_to_a_server(tmp_path: Path) -> None:
    """Else each search waits for the rows that the load has just written."""
    server = Settings(home=tmp_path, milvus_uri="http://milvus:19530")
    folder = Settings(home=tmp_path / "another")  # it stands for the second connection
    with wiring.open_index(Settings(home=tmp_path)) as index:
        with wiring.open_index_of_loads(
            server, index, open_another=lambda _: wiring.open_index(folder)
        ) as of_loads:
            assert of_loads is not index
        wiring.open_index(folder).close()  # it was closed, or this would be refused


@pytest.mark.parametrize(
    ("target", "prefix"),
    [("s3://shop", ""), ("s3://shop/", ""), ("s3://shop/up", "up/"), ("s3://shop/up/", "up/")],
)
def test_a_place_in_a_bucket_ends_like_a_folder(target: str, prefix: str) -> None:
    place = wiring.make_place(target, of="PICTOR_UPLOADS")
    assert (place.bucket, place.prefix, place.url) == ("shop", prefix, f"s3://shop/{prefix}")


def test_a_folder_to_write_into_is_made(tmp_path: Path) -> None:
    place = wiring.make_place(str(tmp_path / "a" / "b"), of="PICTOR_UPLOADS", mode=0o700)
    assert (place.bucket, place.prefix) == (str(tmp_path / "a" / "b"), "")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("target", ["s3://", "ftp://host/x", "FILE/below"])
def test_what_is_no_place_is_said_of_its_setting(tmp_path: Path, target: str) -> None:
    (tmp_path / "FILE").write_text("")
    with pytest.raises(ConfigError, match=r"^PICTOR_AUDIT_TILES: "):
        wiring.make_place(target.replace("FILE", str(tmp_path / "FILE")), of="PICTOR_AUDIT_TILES")


def test_a_job_that_goes_on_has_the_model_of_its_collection_and_not_the_default(tmp_path: Path) -> None:
    """PICTOR_MODEL is for collections that are made, or for one whose model has moved."""
    index, settings = MemoryIndex(), Settings(home=tmp_path, model=str(write_face_model(tmp_path / "faces")))
    own = index.create_collection("images", builtin_spec()).ref
    assert wiring.model_of_generation(own, index, settings).spec == builtin_spec()
