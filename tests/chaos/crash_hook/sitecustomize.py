"""Faults for worker processes of tests, which find this file through PYTHONPATH. The product has no hook.

A body with a marker in it kills or hangs the process that decodes it, or raises what nobody foresaw.
Variables do the rest:

    PICTOR_TEST_LOST_DEVICE      the model fails after this many groups, as a device that fell off the bus
    PICTOR_TEST_GROUP_S          what the model takes longer for a group
    PICTOR_TEST_CLOCK_S          requests to S3 are signed by a clock that is wrong by so many seconds
    PICTOR_TEST_SPLIT_AFTER_S    a batch is slow after this
    PICTOR_TEST_TRIAL_LIMIT_S    a trial is slow after this
    PICTOR_TEST_RETRY_DELAY_S    between two tries of a task
    PICTOR_TEST_WATCH_S          how often a planner's process looks at the jobs that run
    PICTOR_TEST_STALLED_AFTER_S  a claim that was not renewed for so long is nobody's
"""

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

CRASH, HANG, FAULT = b"pictor-test-crash", b"pictor-test-hang", b"pictor-test-fault"


def hurt_decoding(module: Any) -> None:
    for name in ("decode_image", "decode_stored_colours"):  # what is missing here would hurt nobody, unseen
        setattr(module, name, hurt(getattr(module, name)))


def hurt(decode: Callable[..., Any]) -> Callable[..., Any]:
    def decode_or_die(body: bytes, **options: Any) -> Any:
        if FAULT in body:
            raise KeyError("pixels")
        if CRASH in body:
            os.kill(os.getpid(), signal.SIGKILL)
        if HANG in body:
            time.sleep(3600)
        return decode(body, **options)

    return decode_or_die


def hurt_device(module: Any) -> None:
    from pipeline.errors import FatalError

    embed = module.TorchEmbedder.embed_images
    groups_left = int(os.environ.get("PICTOR_TEST_LOST_DEVICE", sys.maxsize))
    longer_s = float(os.environ.get("PICTOR_TEST_GROUP_S", "0"))

    def embed_images(self: Any, pixels: Any) -> Any:
        nonlocal groups_left
        groups_left -= 1
        if groups_left < 0:
            raise FatalError("builtin failed on cuda:0 in a forward pass: the device is lost")
        time.sleep(longer_s)
        return embed(self, pixels)

    module.TorchEmbedder.embed_images = embed_images


def shift_clock(module: Any) -> None:
    utcnow = module.utcnow
    wrong_by = timedelta(seconds=float(os.environ.get("PICTOR_TEST_CLOCK_S", "0")))
    module.utcnow = lambda: utcnow() + wrong_by


def split_sooner(module: Any) -> None:
    limit = os.environ.get("PICTOR_TEST_SPLIT_AFTER_S")
    if limit:
        module.SPLIT_AFTER_S = float(limit)


def try_shorter(module: Any) -> None:
    limit = os.environ.get("PICTOR_TEST_TRIAL_LIMIT_S")
    if limit:
        module.TRIAL_LIMIT_S = int(limit)


def retry_sooner(module: Any) -> None:
    delay = os.environ.get("PICTOR_TEST_RETRY_DELAY_S")
    if delay:
        module.RETRY_DELAYS_S = (int(delay),)


def watch_sooner(module: Any) -> None:
    module.WATCH_S = float(os.environ.get("PICTOR_TEST_WATCH_S", module.WATCH_S))
    module.STALLED_AFTER_S = float(os.environ.get("PICTOR_TEST_STALLED_AFTER_S", module.STALLED_AFTER_S))


CHANGES: dict[str, Callable[[Any], None]] = {
    "pipeline.image.decode": hurt_decoding,
    "pipeline.adapters.models.torch_embedder": hurt_device,
    "minio.time": shift_clock,
    "workers.isolation.halve": split_sooner,
    "workers.isolation.sandbox": try_shorter,
    "workers.delivery": retry_sooner,
    "workers.planning.watch": watch_sooner,
}


class Changer(MetaPathFinder):
    """Changes a module right after it was executed."""

    def find_spec(self, name: str, _path: Any, _target: ModuleType | None = None) -> ModuleSpec | None:
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.loader
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Changer())
