"""The resources under /v1, a file for each."""
