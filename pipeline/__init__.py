"""Pictor: images of an object store become a searchable index. Read run_batch.py first."""
