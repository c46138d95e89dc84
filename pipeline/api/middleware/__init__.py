"""Checks of every request before its route: its name, host, place, caller and body."""
