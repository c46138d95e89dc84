"""The use cases: one file each, for whatever door asks. They take ports and arguments and return values."""
