"""How a worker's main process has its model read by another process."""

import subprocess
from collections.abc import Callable

import pytest

from pipeline.adapters.models.builtin_spec import builtin_spec
from pipeline.errors import ConfigError, FatalError, PictorError, TransientError
from pipeline.settings import Settings
from workers.process.model_probe import read_spec

TRAINED = Settings.model_construct(model="torchvision/resnet18")


def ends_with(status: int, said: str) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    return lambda *_, **__: subprocess.CompletedProcess([], status, stdout=said.encode())


def test_the_builtin_model_is_known_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert read_spec(Settings.model_construct(model="")) == builtin_spec()


@pytest.mark.parametrize("kind", [ConfigError, FatalError, TransientError])
def test_an_error_comes_across_as_its_kind(monkeypatch: pytest.MonkeyPatch, kind: type[PictorError]) -> None:
    said = f'a library prints\n{{"{kind.__name__}": "why"}}\n'
    monkeypatch.setattr(subprocess, "run", ends_with(0, said))
    with pytest.raises(kind, match="why"):
        read_spec(TRAINED)


def test_a_process_that_was_killed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", ends_with(-9, ""))
    with pytest.raises(TransientError, match="reading model torchvision/resnet18 ended with -9"):
        read_spec(TRAINED)
