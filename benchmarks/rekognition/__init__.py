"""Unmodified clients of Amazon Rekognition against a service of ours: `python -m benchmarks.rekognition`."""
