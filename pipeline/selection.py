"""Which keys a job chooses, for scripts outside of Pictor: `Selection(include=(), exclude=()).wants(ref)`."""

from pipeline.ingest.selection import Selection

__all__ = ["Selection"]
