"""Backends of a CPU: the same rows from each, and the fastest of them found once."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.adapters.models.backends import choose
from pipeline.adapters.models.backends.backend import OTHERS, Backend, is_installed
from pipeline.adapters.models.backends.choose import make_ready, may_be_tried, remembered_trials, try_backends
from pipeline.adapters.models.backends.exported import exported
from pipeline.adapters.models.backends.memo import Question, recall, remember
from pipeline.adapters.models.backends.networks import Network, OpenVinoFeatures, Work
from pipeline.adapters.models.backends.trial import Trial, pick, time_in_turns
from pipeline.adapters.models.torch_embedder import TorchEmbedder
from pipeline.errors import ConfigError, FatalError, ModelError
from pipeline.types import ModelSpec
from tests.conftest import missing
from tests.unit.test_inference import CPU, SIDE, SPEC, convolutions

FLOAT32 = Work(precision="float32")


@pytest.fixture(params=OTHERS, ids=[backend.value for backend in OTHERS])
def other(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.param
    if not is_installed(backend):
        missing(f"{backend} is not installed")
    return backend


class Attention(nn.Module):
    """The tokens of a picture look at each other, as in a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.cut = nn.Conv2d(3, 8, 4, stride=4)
        self.look = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.cut(images).flatten(2).transpose(1, 2)
        seen: Tensor = self.look(tokens, tokens, tokens, need_weights=False)[0]
        return seen.mean(1)


class Branching(nn.Module):
    """Goes another way for two images, and an export with two images knows no other way."""

    def forward(self, images: Tensor) -> Tensor:
        means = images.mean((2, 3))
        return means.flip(1) + 5 * means[:, :1] if len(images) == 2 else means


class Sums(nn.Module):
    """Like `FarApart`, with layers that no backend can leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 3), nn.Linear(3, 3)
        for layer, bias in ((self.up, 1000.0), (self.down, -1000.0)):
            nn.init.eye_(layer.weight)
            nn.init.constant_(layer.bias, bias)

    def forward(self, images: Tensor) -> Tensor:
        down: Tensor = self.down(torch.relu(self.up(images.mean((2, 3)))))
        return down


class Unwilling(nn.Module):
    """Cannot be exported."""

    def forward(self, images: Tensor) -> Tensor:
        if torch._C._get_tracing_state():  # it is being exported
            raise RuntimeError("not this one, at 0x7f")
        return images.mean((2, 3))


def embedder_of(network: Network, *, passes: int = 1, spec: ModelSpec = SPEC) -> TorchEmbedder:
    return TorchEmbedder(
        network.features,
        spec,
        device=CPU,
        backend=network.backend,
        group_items=4,
        dtype=network.dtype,
        memory_format=network.memory_format,
        passes=passes,
    )


def make_pixels(items: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(3).integers(0, 256, (items, 3, SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("make", [convolutions, Attention])
def test_every_backend_gives_the_rows_of_torch(
    make: Callable[[], nn.Module], other: Backend, tmp_path: Path
) -> None:
    pixels = make_pixels(9)  # two groups of four and a last one of one
    own = embedder_of(make_ready(make(), SPEC, FLOAT32, backend="torch", folder=tmp_path))
    work = Work(precision="float32", passes=2)
    foreign = embedder_of(make_ready(make(), SPEC, work, backend=other, folder=tmp_path), passes=2)
    rows = foreign.embed_images(pixels)
    assert rows.dtype == np.float32
    assert np.allclose(rows, own.embed_images(pixels), atol=1e-5)
    assert (own.device, foreign.device) == ("cpu", f"cpu ({other})")


def test_a_row_that_is_not_finite_is_nan_and_its_neighbours_are_not(other: Backend, tmp_path: Path) -> None:
    class Root(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.log(images.mean((2, 3)) + 2).repeat(1, 3)[:, :8]  # black pixels are -2

    pixels = make_pixels(3)
    pixels[1] = 0
    rows = embedder_of(make_ready(Root(), SPEC, FLOAT32, backend=other, folder=tmp_path)).embed_images(pixels)
    assert np.isnan(rows).all(1).tolist() == [False, True, False]


def test_a_backend_that_fails_stops_the_process_without_its_own_words(tmp_path: Path) -> None:
    def fail(_: Tensor) -> Tensor:
        raise ModelError("0x7f")

    network = Network(features=fail, backend=Backend.ONNXRUNTIME, precision="float32")
    with pytest.raises(FatalError, match="failed on cpu in a forward pass of 2 images") as caught:
        embedder_of(network).embed_images(make_pixels(2))
    assert "0x7f" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "said"),
    [(Branching(), "has cosine"), (Unwilling(), "cannot export")],
    ids=["a branch", "no export"],
)
def test_a_network_that_another_backend_runs_wrongly_is_refused_by_name(
    module: nn.Module, said: str, other: Backend, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"fake.*{said}") as caught:
        make_ready(module, SPEC, FLOAT32, backend=other, folder=tmp_path)
    assert "0x7f" not in str(caught.value)


def test_what_cannot_be_exported_stays_with_torch_and_the_table_says_why(tmp_path: Path) -> None:
    trials = try_backends(Unwilling(), SPEC, FLOAT32, folder=tmp_path)
    assert pick(trials).backend is Backend.TORCH
    assert [bool(trial.refused) for trial in trials] == [False, True, True]
    network = make_ready(Unwilling(), SPEC, FLOAT32, backend="auto", folder=tmp_path)
    assert network.backend is Backend.TORCH


def test_onnx_runtime_is_not_asked_for_bfloat16(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnxruntime does not compute in bfloat16"):
        make_ready(convolutions(), SPEC, Work(precision="bfloat16"), backend="onnxruntime", folder=tmp_path)


def test_a_network_that_loses_by_bfloat16_is_computed_in_float32(tmp_path: Path) -> None:
    if not is_installed(Backend.OPENVINO):
        missing("openvino is not installed")
    work = BfloatWork()
    network = make_ready(Sums(), SPEC, work, backend="openvino", folder=tmp_path)
    assert network.precision == "float32"


class BfloatWork(Work):
    """On a CPU that computes in bfloat16, whatever this one does."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16


def test_openvino_takes_the_threads_it_is_given_and_pins_none(tmp_path: Path) -> None:
    if not is_installed(Backend.OPENVINO):
        missing("openvino is not installed")
    work = Work(precision="float32", passes=2, pass_threads=1)
    features = make_ready(convolutions(), SPEC, work, backend="openvino", folder=tmp_path).features
    assert isinstance(features, OpenVinoFeatures)
    assert features.property("NUM_STREAMS") == 2
    assert features.property("INFERENCE_NUM_THREADS") == 2
    assert features.property("ENABLE_CPU_PINNING") is False


def trial(backend: Backend, speed: float, refused: str = "") -> Trial:
    return Trial(backend=backend, precision="float32", images_per_s=speed, cosine=1.0, refused=refused)


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ((100.0, 120.0, 130.0), Backend.OPENVINO),
        ((100.0, 130.0, 120.0), Backend.ONNXRUNTIME),
        ((100.0, 104.0, 90.0), Backend.TORCH),
        ((100.0, 90.0, 80.0), Backend.TORCH),
    ],
)
def test_the_fastest_is_chosen_and_torch_unless_another_is_clearly_faster(
    speeds: tuple[float, ...], chosen: Backend
) -> None:
    assert (
        pick([trial(backend, speed) for backend, speed in zip(Backend, speeds, strict=True)]).backend
        is chosen
    )


def test_one_that_moves_the_embeddings_is_not_chosen_however_fast() -> None:
    trials = [trial(Backend.TORCH, 100), trial(Backend.OPENVINO, 900, refused="cosine under 0.999")]
    assert pick(trials).backend is Backend.TORCH


class Watch:
    """A clock that each pass of a network moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def way(self, name: str, *pass_s: float) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """The first passes take these seconds, and all later ones the last of them."""
        left = list(pass_s)

        def run(images: Tensor) -> Tensor:
            self.turns.append(name)
            self.now_s += left.pop(0) if len(left) > 1 else left[0]
            return images

        return run, torch.zeros(8, 1)


def test_ways_take_turns_and_the_best_turn_counts() -> None:
    watch = Watch()
    ways = {
        Backend.TORCH: watch.way("t", 9.0, 0.5, 0.2, 0.4),  # the first pass is not timed
        Backend.OPENVINO: watch.way("o", 9.0, 0.1, 0.8),
    }
    assert time_in_turns(ways, watch) == {
        Backend.TORCH: pytest.approx(8 / 0.2),
        Backend.OPENVINO: pytest.approx(8 / 0.1),
    }
    assert "".join(watch.turns) == "to" * (len(watch.turns) // 2)


def test_a_slow_network_is_tried_in_one_round() -> None:
    watch = Watch()
    time_in_turns({Backend.TORCH: watch.way("t", 30.0)}, watch)
    assert watch.turns == ["t", "t"]


QUESTION = Question(fingerprint="ab" * 32, precision="float32", pass_threads=1, pass_items=8)
TRIALS = [trial(Backend.TORCH, 100.0), trial(Backend.OPENVINO, 0.0, refused="not installed")]


def test_trials_are_remembered(tmp_path: Path) -> None:
    remember(QUESTION, TRIALS, tmp_path / "new")
    assert recall(QUESTION, tmp_path / "new") == TRIALS


@pytest.mark.parametrize(
    "other_question",
    [
        Question(fingerprint="cd" * 32, precision="float32", pass_threads=1, pass_items=8),
        Question(fingerprint="ab" * 32, precision="auto", pass_threads=1, pass_items=8),
        Question(fingerprint="ab" * 32, precision="float32", pass_threads=2, pass_items=8),
        Question(fingerprint="ab" * 32, precision="float32", pass_threads=1, pass_items=4),
    ],
)
def test_another_question_has_no_answer_yet(tmp_path: Path, other_question: Question) -> None:
    remember(QUESTION, TRIALS, tmp_path)
    assert recall(other_question, tmp_path) is None


@pytest.mark.parametrize("part", ["cpu", "versions"])
def test_trials_of_another_cpu_or_another_version_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    remember(QUESTION, TRIALS, tmp_path)
    changed = {
        "cpu": ("cpu_description", lambda: "another"),
        "versions": ("backend_versions", lambda: {"torch": "99"}),
    }
    name, answer = changed[part]
    monkeypatch.setattr(f"pipeline.adapters.models.backends.memo.{name}", answer)
    assert recall(QUESTION, tmp_path) is None


def spoil_field(name: str, value: object) -> Callable[[bytes], bytes]:
    def spoil(body: bytes) -> bytes:
        kept = json.loads(body)
        kept["trials"][0][name] = value
        return json.dumps(kept).encode()

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:40],
        lambda body: body[:0],
        lambda body: b"[" + body + b"]",
        lambda body: body.replace(b'"key": "', b'"key": "0'),
        lambda body: body.replace(b'"images_per_s"', b'"speed"'),
        spoil_field("backend", "tpu"),
        spoil_field("images_per_s", "fast"),
        spoil_field("images_per_s", float("nan")),
        spoil_field("refused", None),
    ],
)
def test_a_damaged_memo_is_no_memo(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    remember(QUESTION, TRIALS, tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    assert recall(QUESTION, tmp_path) is None


def test_a_second_load_does_not_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ready(convolutions(), SPEC, FLOAT32, backend="auto", folder=tmp_path)
    assert remembered_trials(SPEC, FLOAT32, folder=tmp_path) is not None
    monkeypatch.setattr(choose, "time_in_turns", lambda *_: pytest.fail("tried again"))
    make_ready(convolutions(), SPEC, FLOAT32, backend="auto", folder=tmp_path)


def test_a_remembered_backend_that_fails_now_gives_way_to_torch(
    tmp_path: Path, other: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    question = Question(fingerprint=SPEC.fingerprint, precision="float32", pass_threads=1, pass_items=8)
    remember(question, [trial(Backend.TORCH, 1.0), trial(other, 2.0)], tmp_path)
    with caplog.at_level(logging.WARNING):
        network = make_ready(Unwilling(), SPEC, FLOAT32, backend="auto", folder=tmp_path)
    assert network.backend is Backend.TORCH
    assert "a backend is left out" in caplog.text


def test_a_search_does_not_wait_for_a_trial(tmp_path: Path) -> None:
    work = Work(precision="float32", is_search=True)
    network = make_ready(convolutions(), SPEC, work, backend="auto", folder=tmp_path)
    assert network.backend is Backend.TORCH
    assert not list(tmp_path.iterdir())


def test_a_network_too_large_for_a_trial_is_not_tried() -> None:
    with torch.device("meta"):
        huge = nn.Linear(2**20, 2**20)  # 4 TiB
    assert not may_be_tried(huge)


def test_a_backend_that_is_not_installed_is_refused_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.adapters.models.backends.backend.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'pictor\[openvino\]'"):
        make_ready(convolutions(), SPEC, FLOAT32, backend="openvino", folder=tmp_path)
    assert not may_be_tried(convolutions())


def test_an_exported_network_is_written_once_and_again_when_it_is_damaged(tmp_path: Path) -> None:
    with exported(convolutions(), SPEC, tmp_path) as path:
        whole = path.read_bytes()
    path.touch()
    before = path.stat().st_mtime_ns
    with exported(Unwilling(), SPEC, tmp_path) as again:  # an export would fail
        assert again.stat().st_mtime_ns == before
    path.write_bytes(whole[:-1])
    with exported(convolutions(), SPEC, tmp_path) as again:
        assert again.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_the_memo_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "backends"
    network = make_ready(convolutions(), SPEC, FLOAT32, backend="onnxruntime", folder=folder)
    assert np.isfinite(embedder_of(network).embed_images(make_pixels(2))).all()
    make_ready(convolutions(), SPEC, FLOAT32, backend="auto", folder=folder)


def test_openvino_is_imported_without_the_part_that_reports_home() -> None:
    if not is_installed(Backend.OPENVINO):
        missing("openvino is not installed")
    code = (
        "import sys, pipeline.adapters.models.backends.silent_openvino\n"
        "print([name for name in sys.modules if 'telemetry' in name or name == 'openvino.tools.ovc'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.strip() == "[]"


LET_GO = """
import gc, signal, sys, threading
from pathlib import Path
from tests.unit.test_backends import FLOAT32, SPEC, convolutions, make_ready

held = [make_ready(convolutions(), SPEC, FLOAT32, backend="openvino", folder=Path(sys.argv[1]))]
thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_process_hears_signals_after_a_thread_let_go_of_a_network(tmp_path: Path) -> None:
    if not is_installed(Backend.OPENVINO):
        missing("openvino is not installed")
    ran = subprocess.run(
        [sys.executable, "-c", LET_GO, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "handled"), ran.stderr
