"""Who drives each job: the workers, or a process of its own on some host."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WORKERS, EMBEDDED = "workers", "embedded:"


def upgrade() -> None:
    # Workers of the former build that are still at work do not name the column.
    op.add_column("job", sa.Column("driver", sa.Text, nullable=False, server_default=WORKERS))
    op.execute(_name_embedded_jobs())


def _name_embedded_jobs() -> sa.Update:
    """The driver of a job was not noted, so it is told from the traces that only one kind leaves.

    Workers cannot read folders, and claim a step of a job before they plan any of it. A job of a bucket of
    which nothing was planned stays with the workers: one that they leave lying would be lost, while an
    embedded one is found again by the listing of the next run. The host is not known and stays empty.
    """
    job = sa.table(
        "job",
        sa.column("source"),
        sa.column("bucket"),
        sa.column("planned", sa.Boolean),
        sa.column("cursor"),
        sa.column("plan_step"),
        sa.column("driver"),
    )
    is_folder = sa.and_(job.c.source.like("file://%"), job.c.bucket != "")  # a refused submission has none
    is_planned = sa.or_(job.c.planned, job.c.cursor.is_not(None))
    is_embedded = sa.or_(is_folder, sa.and_(job.c.plan_step < 0, is_planned))
    return sa.update(job).where(is_embedded).values(driver=EMBEDDED)
