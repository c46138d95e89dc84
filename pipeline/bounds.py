"""Bounds that every door keeps."""

MAX_HITS = 16_000  # per query: Milvus answers 16,384, less the room that ties need
