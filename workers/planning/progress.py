"""Whether running jobs move. An operator wants to hear first of a job that stands still."""

from collections.abc import Mapping


class ProgressWatch:
    """Remembers when each running job last looked different. For one thread.

    A job's looks are compared, not the times that the ledger holds: those are of other machines' clocks, and
    to find a job's last report would read every row of it. A watch that is new begins with "just now".
    """

    def __init__(self) -> None:
        self._moved: dict[str, tuple[object, float]] = {}

    def standing_s(self, looks: Mapping[str, object], now_s: float) -> dict[str, float]:
        """Take note of the running jobs.

        Args:
            looks: of each running job, something that changes whenever it moves.
            now_s: of a clock that is never set.

        Returns:
            How long each job has stood still, so far as it was looked at.
        """
        self._moved = {
            job_id: (look, self._moved[job_id][1] if self._looks_like(job_id, look) else now_s)
            for job_id, look in looks.items()
        }
        return {job_id: now_s - moved_s for job_id, (_, moved_s) in self._moved.items()}

    def forget(self, job_id: str) -> None:
        """The job has been helped on: it stands still from the next look on."""
        self._moved.pop(job_id, None)

    def _looks_like(self, job_id: str, look: object) -> bool:
        return job_id in self._moved and self._moved[job_id][0] == look
