"""The errors of a local service."""


class StackError(Exception):
    """A service could not be installed, started or stopped. The message says which, and where its log is."""


class PackagesMissingError(StackError):
    """The service is not installed here; `python -m devstack install` would do it."""
