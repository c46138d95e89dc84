"""What `help` shows of a method that is made of an operation: arguments with `self`, and its own result."""

import inspect
from collections.abc import Callable
from typing import Any, get_args


def show_as_method(method: Callable[..., Any], operation: Callable[..., Any], wrapper: Any = None) -> None:
    """Args: `wrapper` is the generic type that the method puts around the operation's result."""
    shown = inspect.signature(operation)
    (result,) = get_args(shown.return_annotation)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = shown.replace(
        parameters=[own, *shown.parameters.values()],
        return_annotation=result if wrapper is None else wrapper[result],
    )
    method.__dict__.update(__signature__=signature)
