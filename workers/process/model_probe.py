"""The spec of a worker's model, which its main process tells every child, though only some load the model.

It is read once, by a process that ends: torch and the weights would stay in the memory of the main process
and of every planner.
"""

import json
import subprocess
import sys

from pydantic import TypeAdapter

from pipeline import wiring
from pipeline.errors import ConfigError, FatalError, PictorError, TransientError
from pipeline.ports.model_binding import DEFAULT_MODEL, choose_model
from pipeline.settings import Settings
from pipeline.types import ModelSpec

_SPEC = TypeAdapter(ModelSpec)
# The class of an error decides the worker's end, so it is sent along.
_ERRORS: tuple[type[PictorError], ...] = (ConfigError, FatalError, TransientError)


def read_spec(settings: Settings) -> ModelSpec:
    """The spec of the model of a worker. `settings` are those of the environment.

    Raises:
        ConfigError: the model cannot be found, read or trusted.
        FatalError: the S3 service that holds its weights refused the credentials.
        TransientError: that service is away, or the process that reads the model was killed.
    """
    if _source(settings) == DEFAULT_MODEL:  # has no weights, and needs no torch to say so
        return _load(settings)
    command = [sys.executable, "-m", "workers.process.model_probe"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise TransientError(f"reading model {_source(settings)} ended with {done.returncode}")
    answer = json.loads(done.stdout.splitlines()[-1])  # whatever a library printed before it
    for kind in _ERRORS:
        if kind.__name__ in answer:
            raise kind(answer[kind.__name__])
    return _SPEC.validate_python(answer)


def _source(settings: Settings) -> str:
    return choose_model(settings.model, None)


def _load(settings: Settings) -> ModelSpec:
    return wiring.load_model_spec(_source(settings), settings)


def _main() -> None:
    """Write the spec, or an error by its kind, as JSON."""
    try:
        answer = _SPEC.dump_json(_load(Settings.from_env())).decode()
    except PictorError as err:
        kind = next((kind for kind in _ERRORS if isinstance(err, kind)), TransientError)
        answer = json.dumps({kind.__name__: str(err)})
    sys.stdout.write(answer + "\n")


if __name__ == "__main__":
    _main()
