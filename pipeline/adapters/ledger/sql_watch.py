"""Which jobs run, and who plans them: processes look after the jobs of others that died."""

from datetime import UTC, datetime

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.schema import job, job_is_for_workers, job_is_running
from pipeline.adapters.ledger.statements import select_running_looks
from pipeline.types import PlanClaim

FAILURES_AFTER = "+"  # in the column of the nonce, which has none of it: `nonce+2` after two tries


class SqlWatch(InTransactions):
    """Part of `SqlLedger`."""

    def claim_step(self, job_id: str, step: int, nonce: str) -> bool:
        free = sa.or_(
            job.c.plan_step == step - 1,  # no later one: it would leave no room for the steps that are due
            _is_at_work(step, nonce),  # the same message, delivered again
        )

        def claim(connection: sa.Connection) -> bool:
            with_failures = sa.case((job.c.plan_step == step, job.c.plan_nonce), else_=nonce)
            values = {"plan_step": step, "plan_nonce": with_failures, "stepped_at": datetime.now(UTC)}
            mine = job.update().where(job.c.job_id == job_id, job_is_for_workers, free).values(values)
            return connection.execute(mine).rowcount == 1

        return self._write(claim)

    def count_failed_step(self, job_id: str, step: int, nonce: str) -> int:
        def count(connection: sa.Connection) -> int:
            of_step = sa.and_(job.c.job_id == job_id, job_is_for_workers, _is_at_work(step, nonce))
            noted = connection.execute(sa.select(job.c.plan_nonce).where(of_step)).scalar()
            if noted is None:
                return 0
            failures = int(noted.partition(FAILURES_AFTER)[2] or 0) + 1
            values = {"plan_nonce": f"{nonce}{FAILURES_AFTER}{failures}"}
            connection.execute(job.update().where(of_step).values(values))
            return failures

        return self._write(count)

    def plan_claims(self) -> dict[str, PlanClaim]:
        query = sa.select(job.c.job_id, job.c.plan_step, job.c.plan_nonce, job.c.stepped_at).where(
            job_is_running, job_is_for_workers
        )
        rows = self._read(lambda connection: connection.execute(query).all())
        return {
            row.job_id: PlanClaim(step=row.plan_step, nonce=row.plan_nonce, renewed_at=row.stepped_at)
            for row in rows
        }

    def running_looks(self) -> dict[str, tuple[datetime, int]]:
        """Of each running job of the workers something that changes whenever its planner, an operator or a
        report moves it.

        Cheap at any size of job, because only pending batches are counted.
        """
        rows = self._read(lambda connection: connection.execute(select_running_looks()).all())
        return {row.job_id: (row.updated_at, row.pending) for row in rows}


def _is_at_work(step: int, nonce: str) -> sa.ColumnElement[bool]:
    noted = job.c.plan_nonce
    has_failed = noted.startswith(f"{nonce}{FAILURES_AFTER}", autoescape=True)
    return sa.and_(job.c.plan_step == step, sa.or_(noted == nonce, has_failed))
