"""`python -m pipeline.cli`: the same as `pictor`."""

from pipeline.cli import main

main()
