"""What runs a model on a CPU, and how fast."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.settings import Settings
from pipeline.types import ModelSpec
from pipeline.wiring.home import make_home
from pipeline.wiring.models import device_threads
from pipeline.wiring.stores import weights_fetcher

if TYPE_CHECKING:
    from pipeline.adapters.models.backends.calibrate import Calibration, Sample
    from pipeline.adapters.models.backends.networks import Work
    from pipeline.adapters.models.backends.trial import Trial


def fixed_backend(address: str) -> str:
    """What runs a model, whatever PICTOR_BACKEND says. Empty: there is a choice."""
    from pipeline.adapters.models.catalogue import fixed_backend as backend_of

    return backend_of(address)


def bench_backends(address: str, settings: Settings) -> "Sequence[Trial]":
    """Try all backends on this machine's CPU, as a job does that runs alone. The first is torch."""
    from pipeline.adapters.models.catalogue import bench_backends as bench

    make_home(settings)
    return bench(
        address,
        _job_work(settings),
        weights_dir=settings.weights_dir,
        fetch_s3=weights_fetcher(settings),
        model_store=settings.model_store,
    )


def calibrate_model(address: str, sample: "Sample", settings: Settings) -> "Calibration":
    """Calibrate a model for int8 on a sample of images. See `backends.calibrate.calibrate`."""
    from pipeline.adapters.models.catalogue import calibrate_model as calibrate

    make_home(settings)
    return calibrate(
        address,
        sample,
        weights_dir=settings.weights_dir,
        fetch_s3=weights_fetcher(settings),
        model_store=settings.model_store,
    )


def known_trials(spec: ModelSpec, settings: Settings) -> "Sequence[Trial] | None":
    """What `bench_backends` or the first load of a job found. None: there was neither here."""
    from pipeline.adapters.models.backends.choose import FOLDER, remembered_trials

    return remembered_trials(spec, _job_work(settings), folder=settings.weights_dir / FOLDER)


def pick_trial(trials: "Sequence[Trial]") -> "Trial":
    from pipeline.adapters.models.backends.trial import pick

    return pick(trials)


def _job_work(settings: Settings) -> "Work":
    from pipeline.adapters.models.backends.choose import plan_work

    return plan_work(
        precision=settings.precision,
        group_items=settings.group_items,
        batches=settings.batch_threads,
        threads=device_threads(settings, 1),
    )
