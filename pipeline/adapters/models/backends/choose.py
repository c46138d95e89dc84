"""The network of a model, run by the backend that was asked for, or by the fastest."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.adapters.models.backends.backend import AUTO, OTHERS, Backend, check_installed, is_installed
from pipeline.adapters.models.backends.exported import exported
from pipeline.adapters.models.backends.int8 import INT8, find
from pipeline.adapters.models.backends.memo import Question, one_trial_at_a_time, recall, remember
from pipeline.adapters.models.backends.networks import (
    CPU,
    Network,
    Work,
    in_torch,
    open_checked,
    open_network,
)
from pipeline.adapters.models.backends.trial import Clock, Trial, judge, pick, time_in_turns
from pipeline.adapters.models.inference import least_cosine, make_probes, wanted_rows
from pipeline.adapters.models.torch_embedder import CPU_PASS_ITEMS, share_cores, take_threads
from pipeline.cgroup import read_share
from pipeline.errors import ConfigError, PictorError
from pipeline.types import ModelSpec

logger = logging.getLogger(__name__)

FOLDER = "backends"  # in the folder of the weights
# A trial holds the weights once as given, once folded or lowered, and once for each other backend. It may
# take a quarter of the memory: a process that is killed in its trial would be killed in each of them.
TRIAL_COPIES, TRIAL_SHARE = 4, 0.25


def plan_work(
    device: torch.device = CPU, *, precision: str, group_items: int, batches: int, threads: int
) -> Work:
    """Args: `precision` is auto, float32 or bfloat16; for the others see `share_cores`."""
    passes, pass_threads = share_cores(device, threads=threads, batches=batches, group_items=group_items)
    return Work(
        device=device,
        precision=precision,
        passes=passes,
        pass_threads=pass_threads,
        pass_items=min(group_items, CPU_PASS_ITEMS),
        is_search=not batches,
    )


def make_ready(module: nn.Module, spec: ModelSpec, work: Work, *, backend: str, folder: Path) -> Network:
    """The network that computes the embeddings.

    Args:
        module: [N, 3, S, S] of normalised float32 to [N, D].
        backend: auto, torch, onnxruntime or openvino. A GPU is torch's always. A search never waits for a
            trial, so that auto is torch there.
        folder: for exported networks and what trials found.

    Raises:
        ConfigError: the backend is not installed.
        ModelError: the backend that was asked for cannot run this network, or moves its embeddings too far.
    """
    if work.device.type != "cpu" or backend == Backend.TORCH:
        return in_torch(module, spec, work)
    if backend != AUTO:
        return _in_backend(module, spec, work, Backend(backend), folder)
    if work.is_search or not may_be_tried(module):
        return in_torch(module, spec, work)
    return _in_fastest(module, spec, work, folder)


def make_ready_in_int8(
    spec: ModelSpec, work: Work, *, backend: str, folder: Path
) -> tuple[ModelSpec, Network]:
    """The model in int8, run by the backend that it was measured with.

    Args:
        spec: of the model in float32.

    Raises:
        ConfigError: the device or the backend is another one, or not installed.
        ModelError: it was not calibrated, or what was kept is damaged.
    """
    if work.device.type != "cpu":
        raise ConfigError(
            f"PICTOR_PRECISION is int8, which is for CPUs, and the device is {work.device}; "
            "set PICTOR_DEVICE=cpu, or another precision"
        )
    calibrated, path = find(spec, folder)
    if backend not in (AUTO, calibrated.backend):
        raise ConfigError(
            f"PICTOR_BACKEND is {backend}, and {spec.name} was calibrated for int8 with "
            f"{calibrated.backend}; set PICTOR_BACKEND to auto"
        )
    network = open_network(calibrated.backend, path, spec.name, work, INT8)
    return calibrated.spec_of(spec), network


def may_be_tried(module: nn.Module) -> bool:
    """Whether there is a choice, and memory for a trial."""
    size_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    has_room = TRIAL_COPIES * size_bytes <= TRIAL_SHARE * read_share().memory_bytes
    return has_room and any(is_installed(other) for other in OTHERS)


def try_backends(
    module: nn.Module, spec: ModelSpec, work: Work, *, folder: Path, clock: Clock = time.process_time
) -> Sequence[Trial]:
    """Try them all and remember what was found. The first is torch."""

    def run() -> Sequence[Trial]:
        take_threads(work.pass_threads)
        return _try_all(module, spec, work, folder, clock)

    with ThreadPoolExecutor(1, thread_name_prefix="trial") as pool:  # threads of torch are set by thread
        trials = pool.submit(run).result()
    remember(_question(spec, work), trials, folder)
    return trials


def remembered_trials(spec: ModelSpec, work: Work, *, folder: Path) -> Sequence[Trial] | None:
    """None: there was none yet on this machine, with these versions and so many threads."""
    return recall(_question(spec, work), folder)


def _question(spec: ModelSpec, work: Work) -> Question:
    return Question(
        fingerprint=spec.fingerprint,
        precision=work.precision,
        pass_threads=work.pass_threads,
        pass_items=work.pass_items,
    )


def _in_backend(module: nn.Module, spec: ModelSpec, work: Work, backend: Backend, folder: Path) -> Network:
    check_installed(backend)
    probes, wanted = _expected(module, spec)
    with exported(module, spec, folder) as path:
        return open_checked(backend, path, spec, work, probes, wanted)[0]


def _in_fastest(module: nn.Module, spec: ModelSpec, work: Work, folder: Path) -> Network:
    with one_trial_at_a_time(folder):
        trials = remembered_trials(spec, work, folder=folder)
        if trials is None:
            trials = try_backends(module, spec, work, folder=folder)
    chosen = pick(trials)
    if chosen.backend is Backend.TORCH:
        return in_torch(module, spec, work)
    try:
        with exported(module, spec, folder) as path:
            return open_network(chosen.backend, path, spec.name, work, chosen.precision)
    except PictorError as err:  # it ran in its trial, so this is the machine's trouble and not the model's
        logger.warning("a backend is left out", extra={"backend": chosen.backend.value, "why": str(err)})
        return in_torch(module, spec, work)


def _try_all(module: nn.Module, spec: ModelSpec, work: Work, folder: Path, clock: Clock) -> Sequence[Trial]:
    probes, wanted = _expected(module, spec)
    own = in_torch(module, spec, work)
    ways = {own.backend: (own, least_cosine(own.features, own.to_input(probes), wanted))}
    refused: list[Trial] = []
    for backend in OTHERS:
        try:
            check_installed(backend)
            with exported(module, spec, folder) as path:
                ways[backend] = open_checked(backend, path, spec, work, probes, wanted)
        except PictorError as err:
            refused.append(Trial(backend=backend, refused=str(err)))
    images = probes.repeat(-(-work.pass_items // len(probes)), 1, 1, 1)[: work.pass_items]
    speeds = time_in_turns(
        {name: (way.features, way.to_input(images)) for name, (way, _) in ways.items()}, clock
    )
    return [judge(way, speeds[name], cosine) for name, (way, cosine) in ways.items()] + refused


def _expected(module: nn.Module, spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """Images, and what torch makes of them in float32."""
    probes = make_probes(spec, CPU)
    return probes, wanted_rows(module, probes)
