"""What every request passes before its route: a name, the right host, a bounded body, a free place."""
