"""Whether running jobs move. An operator wants to hear first of a job that stands still."""

from collections.abc import Mapping


class ProgressWatch:
    """Remembers when each running job last looked different. For one thread.

    A job's looks are compared, not the times that the ledger holds: those are of other machines' clocks, and
    to find a job's last report would read every row of it. A watch that is new begins with "just now".
    """

    def __init__(self) -> None:
        self._moved: dict[str, tuple[object, float]] = {}

    def oldest_progress_s(self, looks: Mapping[str, object], now_s: float) -> float:
        """Take note of the running jobs.

        Args:
            looks: of each running job, something that changes whenever it moves.
            now_s: since 1970.

        Returns:
            When the job that has stood still for longest last moved; 0 when no job runs.
        """
        self._moved = {
            job_id: (look, self._moved[job_id][1] if self._looks_like(job_id, look) else now_s)
            for job_id, look in looks.items()
        }
        return min((moved_s for _, moved_s in self._moved.values()), default=0.0)

    def _looks_like(self, job_id: str, look: object) -> bool:
        return job_id in self._moved and self._moved[job_id][0] == look
