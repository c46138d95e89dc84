"""Python's collector of garbage, in processes that import a million objects that stay."""

import atexit
import gc

_NEW_OBJECTS = 10_000  # before a look at the youngest; Python's own number is 700


def look_seldom() -> None:
    """Called once, at the start of a process. It spares a command a third of its CPU.

    What is imported is not looked at again when the process ends, since the kernel takes all of it back.
    """
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
    atexit.register(gc.freeze)


def leave_what_is_there() -> None:
    """Called when a process is warm: what it holds now stays, so no later look goes through it."""
    gc.collect()
    gc.freeze()
