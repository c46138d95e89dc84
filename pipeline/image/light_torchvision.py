"""torchvision, imported without the compiler of torch. Nothing else in Pictor imports torchvision.

torchvision 0.29 imports the compiler for one test in `roi_align`, which Pictor never calls. It costs each
process a second of CPU at its start, and 150 MB. `torchvision.transforms.v2` wants it, too: do not use it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


class _OnFirstUse(ModuleType):
    """Stands for a module that is imported when something in it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python's own import asks of a module
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*arguments, **named)

        return call


@contextmanager
def _compiler_on_first_use() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    sys.modules[_COMPILER] = _OnFirstUse(_COMPILER)
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


with _compiler_on_first_use():
    from torchvision import models as models
    from torchvision.transforms import InterpolationMode as InterpolationMode
