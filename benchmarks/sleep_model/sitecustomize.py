"""Gives worker processes a model that takes its time and no core; they find this file through PYTHONPATH.

The product has no such model and no hook for one. Whatever model is asked for, its spec is the real one; its
vectors are made up, and take PICTOR_BENCH_SLEEP_S seconds for each image.
"""

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def sleep_instead(module: Any) -> None:
    load_spec = module.load_model_spec

    def load_model(address: str, settings: Any, **_: Any) -> Any:
        from benchmarks.synthetic import FreeEmbedder, SleepingEmbedder

        seconds = float(os.environ["PICTOR_BENCH_SLEEP_S"])
        return SleepingEmbedder(FreeEmbedder(load_spec(address, settings)), seconds)

    module.load_model = load_model


class Changer(MetaPathFinder):
    """Changes pipeline.wiring right after it was executed, once."""

    done = False

    def find_spec(self, name: str, _path: Any, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "pipeline.wiring" or self.done:
            return None
        self.done = True
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.loader
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            sleep_instead(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Changer())
