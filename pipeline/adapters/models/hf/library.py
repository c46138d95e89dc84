"""The library transformers, when it is first needed: importing it costs a second and 100 MB."""

import functools
from typing import Any

from pipeline.errors import ConfigError


@functools.cache
def transformers() -> Any:
    """Raises ConfigError: it is not installed."""
    # torchvision first, and without the compiler of torch.
    from pipeline.image import light_torchvision  # noqa: F401

    try:
        import transformers
    except ImportError as err:
        raise ConfigError(
            "models of Hugging Face need transformers; `pip install 'pictor[transformers]'` installs it"
        ) from err
    # What it would print on a terminal is said by our messages, or of no use to who reads logs.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
