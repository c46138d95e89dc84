"""The real services that Pictor talks to, as local processes: no containers, one directory, free ports.

`python -m devstack up|down|status|install`. Standard library only: it runs before anything is installed.
Linux only, because processes are told apart through /proc.
"""
