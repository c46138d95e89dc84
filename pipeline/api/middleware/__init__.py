"""Checks of every request before its route: a name, the right host, a bounded body, a free place."""
