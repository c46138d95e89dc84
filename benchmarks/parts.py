"""The parts of the benchmark, in the order in which they are run."""

PARTS = (
    "stages",
    "decode_time",
    "backends",
    "two_models",
    "end_to_end",
    "search",
    "service",
    "embedded_index",
    "scale",
    "audit_log",
    "gpu",
)
