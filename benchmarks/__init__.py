"""How fast Pictor is, measured against what it could be and against others: `python -m benchmarks`."""
