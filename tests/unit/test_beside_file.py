"""A model file that names models beside its own: what is made of it, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import wiring
from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.adapters.models.beside import fingerprint_with
from pipeline.adapters.models.builtin_spec import BUILTIN_DIM, builtin_spec
from pipeline.adapters.models.catalogue import (
    bench_backends,
    calibrate_model,
    list_files,
    load_embedder,
    load_spec,
    load_text_embedder,
    pull_model,
)
from pipeline.api.embedded import _deps_of, open_embedded
from pipeline.capacity import Load
from pipeline.cli.doctor import _model
from pipeline.cli.models import describe_beside
from pipeline.errors import ConfigError, ModelError
from pipeline.ports.deps import warm_models
from pipeline.ports.embedder import check_beside
from pipeline.service.answers import model_json
from pipeline.settings import Settings
from pipeline.types import CollectionRef, Job, ModelBeside, ModelSpec, Pixels, Preprocessing
from tests.onnx_models import DIM, SIDE_PX, network, write_onnx_model
from tests.onnx_texts import write_two_towers
from tests.unit.fakes import COLLECTION, HERE, FakeEmbedder, identity_of, request_of
from workers.process.context import open_deps
from workers.process.model_probe import _SPEC

BESIDE = '\n[beside.copies]\nmodel = "copy/m.toml"\n'


@pytest.fixture
def copy_file(tmp_path: Path) -> Path:
    return write_onnx_model(tmp_path / "copy", network(), fit='"stretch"', name='"copy model"')


@pytest.fixture
def two_file(tmp_path: Path, copy_file: Path) -> Path:
    """The builtin model, and one in an ONNX file beside it."""
    return write(tmp_path, f'name = "two"\nmodel = "builtin"{BESIDE}')


def write(folder: Path, text: str, name: str = "two.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def spec_of(path: Path) -> ModelSpec:
    return load_spec(str(path), weights_dir=path.parent)


def test_it_is_one_model_with_those_beside_it(two_file: Path, copy_file: Path) -> None:
    spec, copies = spec_of(two_file), spec_of(copy_file)
    assert spec.beside == (ModelBeside(name="copies", spec=copies),)
    assert (spec.name, spec.address, spec.dim) == ("two", str(two_file), BUILTIN_DIM)
    assert spec.preprocessing == builtin_spec().preprocessing
    assert (copies.dim, copies.preprocessing.crop) == (DIM, SIDE_PX)
    assert spec.fingerprint == fingerprint_with(builtin_spec().fingerprint, spec.beside)


def test_the_file_may_describe_the_first_model_itself(tmp_path: Path) -> None:
    path = write_onnx_model(tmp_path, network(), fit='"stretch"')
    alone = spec_of(path)
    path.write_text(path.read_text() + '[beside.colours]\nmodel = "builtin"\n')
    spec = spec_of(path)
    assert spec == replace(
        alone,
        fingerprint=spec.fingerprint,
        beside=(ModelBeside(name="colours", spec=builtin_spec()),),
    )
    assert spec.fingerprint != alone.fingerprint


def test_names_and_models_are_part_of_the_fingerprint_and_their_order_is_not(
    tmp_path: Path, two_file: Path
) -> None:
    write_onnx_model(tmp_path / "other", network(value=0.5), name='"other"')
    first = 'name = "two"\nmodel = "builtin"'
    second = '\n[beside.more]\nmodel = "other/m.toml"\n'
    renamed = spec_of(write(tmp_path, first + BESIDE.replace("copies", "copies2"), "1.toml"))
    replaced = spec_of(write(tmp_path, first + BESIDE.replace("copy/", "other/"), "2.toml"))
    both = spec_of(write(tmp_path, first + BESIDE + second, "3.toml"))
    turned = spec_of(write(tmp_path, first + second + BESIDE, "4.toml"))
    assert len({spec.fingerprint for spec in (spec_of(two_file), renamed, replaced, both)}) == 4
    assert (turned.fingerprint, turned.beside) == (both.fingerprint, both.beside)
    assert [one.name for one in both.beside] == ["copies", "more"]


def test_the_first_embeds_and_has_the_spec_of_all(two_file: Path, copy_file: Path) -> None:
    spec = spec_of(two_file)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128), np.uint8)
    alone = load_embedder("builtin", weights_dir=two_file.parent, device="cpu", group_items=4)
    (copy_file.parent / "w.onnx").unlink()  # what is known of those beside it is not read again
    first = load_embedder(
        str(two_file), weights_dir=two_file.parent, device="cpu", group_items=4, beside=spec.beside
    )
    assert (first.spec, first.device) == (spec, "cpu")
    np.testing.assert_array_equal(first.embed_images(pixels), alone.embed_images(pixels))


def test_those_beside_it_are_loaded_when_they_are_needed(two_file: Path) -> None:
    settings = Settings(home=two_file.parent, model=str(two_file), device="cpu")
    first = wiring.lazy_model(str(two_file), settings, existing=None)
    beside = wiring.models_beside(first.spec, settings, existing=None)
    assert {name: (one.spec, one.device) for name, one in beside.items()} == {
        "copies": (first.spec.beside[0].spec, "")
    }
    pixels = np.zeros((1, 3, SIDE_PX, SIDE_PX), np.uint8)
    assert beside["copies"].embed_images(pixels).shape == (1, DIM)
    assert first.embed_images(np.zeros((1, 3, 128, 128), np.uint8)).shape == (1, BUILTIN_DIM)


@pytest.mark.parametrize("which", ["first", "copies"])
def test_a_model_whose_file_was_replaced_since_is_not_used(
    two_file: Path, copy_file: Path, which: str
) -> None:
    settings = Settings(home=two_file.parent, model=str(two_file), device="cpu")
    first = wiring.lazy_model(str(two_file), settings, existing=None)
    beside = wiring.models_beside(first.spec, settings, existing=None)
    if which == "first":
        two_file.write_text(two_file.read_text().replace("[beside.copies]", "[beside.other]"))
        embedder, side = first, 128
    else:
        (copy_file.parent / "w.onnx").write_bytes(network(value=0.5))
        embedder, side = beside["copies"], SIDE_PX  # type: ignore[assignment]
    with pytest.raises(ModelError, match=r"had fingerprint .* when this process was started"):
        embedder.embed_images(np.zeros((1, 3, side, side), np.uint8))


def test_the_text_tower_of_the_first_has_the_spec_of_all(tmp_path: Path) -> None:
    path = write_two_towers(tmp_path)
    path.write_text(path.read_text() + '\n[beside.colours]\nmodel = "builtin"\n')
    spec = spec_of(path)
    texts = load_text_embedder(str(path), weights_dir=tmp_path)
    assert spec.reads_text
    assert texts.spec == spec
    assert texts.embed_texts(["red shoes"]).shape == (1, spec.dim)


def test_all_files_are_known_to_who_gives_rights(two_file: Path, tmp_path: Path) -> None:
    write_onnx_model(tmp_path / "copy", network(), weights='"s3://weights/w.onnx"')
    assert [file.location for file in list_files(str(two_file))] == ["s3://weights/w.onnx"]


def test_a_worker_tells_its_children_all_of_it(two_file: Path) -> None:
    spec = spec_of(two_file)
    assert _SPEC.validate_python(json.loads(_SPEC.dump_json(spec))) == spec


def test_it_is_shown(two_file: Path) -> None:
    spec = spec_of(two_file)
    [one] = spec.beside
    assert model_json(spec)["beside"] == {"copies": model_json(one.spec)}
    assert "beside" not in model_json(one.spec)
    digits = one.spec.fingerprint[:8]
    assert describe_beside(spec) == {"beside: copies": f"copy model ({digits}), {DIM} dimensions"}
    assert _model(spec) == (
        f"two ({spec.fingerprint[:8]}), {BUILTIN_DIM} dimensions; "
        f"beside it copies: copy model, {DIM} dimensions"
    )


def test_each_trained_model_takes_memory(two_file: Path) -> None:
    spec = spec_of(two_file)
    assert wiring.load_of_model(spec) == Load(models_beside=1), "the builtin one has no weights"
    [copies] = spec.beside
    turned = replace(copies.spec, beside=(ModelBeside(name="colours", spec=builtin_spec()),))
    assert wiring.load_of_model(turned) == Load(is_trained=True)


def job_of(ledger: SqlLedger, model_name: str) -> Job:
    return ledger.create_job(request_of(spec=replace(builtin_spec(), name=model_name)), driver=HERE)


def test_a_job_counts_the_models_of_its_file_as_its_process_does(ledger: SqlLedger, two_file: Path) -> None:
    settings, job = Settings(model=str(two_file)), job_of(ledger, "two")
    batches = settings.batch_threads
    assert wiring.load_of_job(job, settings) == Load(batches=batches, models_beside=1)
    assert wiring.load_of_job(job, settings) == wiring.load_of_model(spec_of(two_file), batches=batches)


@pytest.mark.parametrize("text", ["", "name = ", 'name = "two"\n[beside.copies]\nmodel = "nowhere.toml"\n'])
def test_a_status_is_shown_whatever_the_model_file_holds(
    ledger: SqlLedger, tmp_path: Path, text: str
) -> None:
    settings = Settings(model=str(write(tmp_path, text)))
    trained = Load(batches=settings.batch_threads, is_trained=True)
    assert wiring.load_of_job(job_of(ledger, "two"), settings) == trained


def test_a_job_of_another_model_does_not_count_those_of_the_file(ledger: SqlLedger, two_file: Path) -> None:
    for settings in (Settings(model=str(two_file)), Settings(model=str(two_file.parent / "none.toml"))):
        plain = Load(batches=settings.batch_threads)
        assert wiring.load_of_job(job_of(ledger, "builtin"), settings) == plain


@pytest.mark.parametrize(("queue", "texts"), [("embed", False), ("search", True)])
def test_a_worker_has_all_models(tmp_path: Path, queue: str, texts: bool) -> None:
    path = write_two_towers(tmp_path)
    path.write_text(path.read_text() + '\n[beside.colours]\nmodel = "builtin"\n')
    settings = Settings(home=tmp_path / "home", model=str(path), device="cpu")
    identity = replace(identity_of(tmp_path), queues=(queue,), model=spec_of(path))
    with wiring.open_ledger(settings) as ledger:
        deps = open_deps(settings, identity, ledger)
        check_beside(deps.embedder.spec, deps.beside)
        warm_models(deps)
        assert [one.device for one in (deps.embedder, *deps.beside.values())] == ["cpu (onnxruntime)", "cpu"]
        assert (deps.texts is not None) is texts
        deps.index.close()  # type: ignore[attr-defined]


def _no_sample(_preprocessing: Preprocessing) -> Pixels:
    raise AssertionError("nothing is read for a file that is refused")


def test_a_service_has_each_model_once_for_searches_and_jobs(two_file: Path) -> None:
    asked: list[str] = []

    class Recorded:
        def answering(self, target: CollectionRef, embedding: str = "") -> FakeEmbedder:
            assert target.fingerprint == spec.fingerprint
            asked.append(embedding)
            return FakeEmbedder()

    settings, spec = Settings(home=two_file.parent / "home", model=str(two_file)), spec_of(two_file)
    with open_embedded(settings, []) as backend:
        backend.index.create_collection(COLLECTION, spec)
        job = backend.ledger.create_job(request_of(spec=spec), driver=HERE)
        deps = _deps_of(job, backend, Recorded())  # type: ignore[arg-type]
        assert asked == [], "nothing is loaded for a job that has nothing to do"
        warm_models(deps)
    assert asked == ["", "copies"]


FIRST = 'name = "two"\nmodel = "builtin"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FIRST, r"two.toml: a section \[beside.NAME\] is missing"),
        (f"{FIRST}[beside]\n", r"a section \[beside.NAME\] is missing"),
        (f"{FIRST}beside = 5\n", r"a section \[beside.NAME\] is missing"),
        (
            f'{FIRST}[beside]\ncopies = "builtin"\n',
            r"\[beside\] copies must be a section with model",
        ),
        (f"{FIRST}[beside.copies]\n", r"\[beside.copies\]: key 'model' is missing"),
        (f"{FIRST}[beside.copies]\nmodel = 5\n", r"\[beside.copies\]: model = 5, it must be the address"),
        (f"{FIRST}{BESIDE}dim = 5\n", r"\[beside.copies\]: unknown key 'dim'; known are model"),
        (f"{FIRST}{BESIDE}{BESIDE}", "two.toml is not TOML"),
        (f"{FIRST}crop = 5\n{BESIDE}", "unknown key 'crop'; known are name, model"),
        (f'model = "builtin"\n{BESIDE}', "key 'name' is missing"),
        (
            f"{FIRST}{BESIDE.replace('copies', 'Copies')}",
            r"\[beside.Copies\] cannot be the name of",
        ),
        (f"{FIRST}{BESIDE.replace('copies', 'c' * 17)}", "1 to 16 of a-z, 0-9 and single _"),
        (f"{FIRST}{BESIDE.replace('copies', 'near__copies')}", "single _ between them, a letter first"),
        (f"{FIRST}{BESIDE.replace('copies', 'a_')}", r"\[beside.a_\] cannot be the name of"),
        (f"{FIRST}{BESIDE.replace('copies', 'main')}", "and not first, image, main"),
        (f"{FIRST}{BESIDE.replace('copy/m', 'two')}", r"two.toml: copies is this file itself"),
        (
            f"{FIRST}{BESIDE.replace('copy/m', 'nested')}",
            "nested.toml, which has a section",
        ),
        (
            f"{FIRST.replace('builtin', 'nested.toml')}{BESIDE}",
            "two.toml: model is .*nested.toml, which",
        ),
        (f"{FIRST}{BESIDE.replace('copy/m.toml', 'builtin')}", "copies is the same model as the first model"),
        (f"{FIRST}{BESIDE}{BESIDE.replace('copies', 'again')}", "copies is the same model as again"),
        (f"{FIRST}{BESIDE.replace('copy/m.toml', 'nothing')}", "nothing' is none of builtin, "),
        (f"{FIRST}{BESIDE.replace('copy/m', 'nothing')}", "model file .*nothing.toml cannot be read"),
        (
            FIRST + "".join(BESIDE.replace("copies", f"c{n}") for n in range(4)),
            "4 models in .*, at most 3",
        ),
    ],
)
@pytest.mark.usefixtures("copy_file")
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, f"{FIRST}{BESIDE}", "nested.toml")
    with pytest.raises(ModelError, match=message):
        spec_of(write(tmp_path, text))


def test_addresses_are_looked_up_from_the_folder_of_the_file(
    two_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    spec = spec_of(Path("../two.toml"))
    assert spec == spec_of(two_file)


def test_several_models_have_no_form_in_int8(two_file: Path) -> None:
    for load in (
        lambda: load_spec(str(two_file), weights_dir=two_file.parent, precision="int8"),
        lambda: load_embedder(
            str(two_file), weights_dir=two_file.parent, device="cpu", precision="int8", group_items=4
        ),
    ):
        with pytest.raises(ConfigError, match=r"PICTOR_PRECISION is int8, and model file .*two.toml has"):
            load()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda path: bench_backends(path, None, weights_dir=Path()), "try the backends of"),  # type: ignore[arg-type]
        (lambda path: calibrate_model(path, _no_sample, weights_dir=Path()), "calibrate"),
        (lambda path: pull_model(path, weights_dir=Path()), "download"),
    ],
)
def test_what_is_for_one_model_names_them_all(
    two_file: Path, copy_file: Path, call: Callable[[str], object], what: str
) -> None:
    with pytest.raises(ModelError, match=f"has several models; {what} each alone: builtin, {copy_file}$"):
        call(str(two_file))
