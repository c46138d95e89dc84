"""The library timm, when it is first needed: importing it costs half a second."""

import functools
from typing import Any

from pipeline.errors import ConfigError


@functools.cache
def timm() -> Any:
    """Raises ConfigError: it is not installed."""
    # torchvision first, and without the compiler of torch.
    from pipeline.image import light_torchvision  # noqa: F401

    try:
        import timm
        import timm.data
    except ImportError as err:
        raise ConfigError("models of timm need timm; `pip install 'pictor[timm]'` installs it") from err
    return timm
