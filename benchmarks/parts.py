"""The parts of the benchmark, in the order in which they are run."""

PARTS = ("stages", "end_to_end", "search", "embedded_index", "scale", "gpu")
