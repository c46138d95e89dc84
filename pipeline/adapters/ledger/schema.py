"""The ledger's tables, for queries. The migrations make them; a test holds the two together.

Counts are sums over `batch`, so `scanned = indexed + unchanged + failed + pending` holds by construction, and
the check constraints make each row keep its part of it. Batches that are pruned leave their sums in the row
of their job. What a planner settles
without a message, unchanged objects and known failures, is a row of `batch` that is done from the start.
"""

from enum import StrEnum

import sqlalchemy as sa

from pipeline.adapters.ledger import audit_schema as audit_schema  # its tables are the ledger's, too
from pipeline.adapters.ledger import person_schema as person_schema
from pipeline.adapters.ledger import policy_schema as policy_schema
from pipeline.adapters.ledger import request_schema as request_schema
from pipeline.adapters.ledger import verification_schema as verification_schema
from pipeline.adapters.ledger.columns import ByteText, TextMap, TextTuple, UtcTime
from pipeline.adapters.ledger.columns import metadata as metadata
from pipeline.types import WORKERS


class BatchState(StrEnum):
    PENDING = "pending"  # planned, no report yet
    DONE = "done"
    SPLIT = "split"  # its halves stand in its place and it counts for nothing


REVISION = "0013"  # of the migration that makes these tables

job = sa.Table(
    "job",
    metadata,
    sa.Column("job_id", ByteText, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("include", TextTuple, nullable=False),
    sa.Column("exclude", TextTuple, nullable=False),
    sa.Column("batch_items", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("planned", sa.Boolean, nullable=False),
    sa.Column("cursor", sa.Text),
    sa.Column("planned_batches", sa.Integer, nullable=False),
    sa.Column("ignored", sa.BigInteger, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),  # by planner and operator; reports leave the row alone
    sa.Column("finished_at", UtcTime),
    sa.Column("plan_step", sa.Integer, nullable=False),  # the planner's chain of messages: see claim_step
    sa.Column("plan_nonce", sa.Text, nullable=False),
    sa.Column("stepped_at", UtcTime),
    # The default is for workers of the build before this column that are still at work: they plan jobs only.
    sa.Column("driver", sa.Text, nullable=False, server_default=WORKERS),
    # So are these. How much a job may remove, how much it found missing, and whether that is undecided.
    sa.Column("keep_missing", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("max_delete_share", sa.Double),
    sa.Column("retry_failed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("held", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("lost", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("removed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("removals_due", sa.Boolean, nullable=False, server_default=sa.false()),
    # Ids that are being taken out right now, with a blank between: whoever goes on looks at them again.
    sa.Column("removing", sa.Text, nullable=False, server_default=""),
    # And these: when batches and failures were pruned, and the sums of the batches that were.
    sa.Column("pruned_at", UtcTime),
    sa.Column("kept_batches", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("kept_pending", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("kept_indexed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("kept_unchanged", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("kept_failed", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("kept_seconds", sa.JSON(none_as_null=True)),  # by stage
    sa.Column("kept_faces", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("kept_without_faces", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.CheckConstraint(
        "state IN ('running', 'paused', 'cancelled', 'completed', 'failed')", name="job_state_is_known"
    ),
)
job_is_for_workers = job.c.driver == WORKERS
# Written out, not bound: a prepared statement with a parameter here could not use the partial indexes.
job_is_running = job.c.state == sa.literal_column("'running'")
sa.Index("job_running", job.c.created_at, sqlite_where=job_is_running, postgresql_where=job_is_running)

batch = sa.Table(
    "batch",
    metadata,
    sa.Column("job_id", ByteText, sa.ForeignKey("job.job_id", name="batch_of_job"), primary_key=True),
    sa.Column("path", ByteText, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    sa.Column("indexed", sa.Integer, nullable=False),
    sa.Column("unchanged", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("published_at", UtcTime),  # outbox: committed first, published next, marked last
    sa.Column("reported_at", UtcTime),
    sa.Column("seconds", sa.JSON(none_as_null=True)),
    sa.Column("body", sa.LargeBinary),  # late: SQLite then reads the counts without touching it
    sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0")),  # of its plan
    # Of the images that are indexed or unchanged: their faces, and how many show none.
    sa.Column("faces", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("without_faces", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.CheckConstraint("state IN ('pending', 'done', 'split')", name="batch_state_is_known"),
    sa.CheckConstraint(
        "items >= 0 AND indexed >= 0 AND unchanged >= 0 AND failed >= 0", name="batch_counts_not_negative"
    ),
    sa.CheckConstraint("state <> 'done' OR items = indexed + unchanged + failed", name="batch_done_adds_up"),
    sa.CheckConstraint("state = 'done' OR indexed + unchanged + failed = 0", name="batch_counts_when_done"),
    sa.CheckConstraint("(state = 'pending') = (body IS NOT NULL)", name="batch_body_while_pending"),
)
batch_is_pending = batch.c.state == sa.literal_column("'pending'")
sa.Index(
    "batch_pending",  # as short as the queue is, however many batches the job has
    batch.c.job_id,
    batch.c.path,
    sqlite_where=batch_is_pending,
    postgresql_where=batch_is_pending,
)
sa.Index(
    "batch_counts",  # all that the sums need: counting a job reads this index and no row
    batch.c.job_id,
    batch.c.state,
    batch.c["items"],
    batch.c.indexed,
    batch.c.unchanged,
    batch.c.failed,
    batch.c.faces,
    batch.c.without_faces,
)

failure = sa.Table(
    "failure",
    metadata,
    sa.Column("job_id", ByteText, primary_key=True),
    sa.Column("image_id", ByteText, primary_key=True),
    sa.Column("batch_path", ByteText, nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("key", ByteText, nullable=False),  # not indexed: PostgreSQL refuses index rows over 2.7 KB
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["job_id", "batch_path"], ["batch.job_id", "batch.path"], name="failure_of_batch"
    ),
)
sa.Index("failure_by_batch", failure.c.job_id, failure.c.batch_path)  # for the batch that is to be deleted

# The version book. One row for each object of a generation, whatever became of it.
version = sa.Table(
    "version",
    metadata,
    sa.Column("generation", ByteText, primary_key=True),
    sa.Column("image_id", ByteText, primary_key=True),
    sa.Column("bucket_id", ByteText, nullable=False),  # digest of the bucket: a folder's path may be long
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("key", ByteText, nullable=False),
    sa.Column("etag", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("modified_ms", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("vectors", sa.Integer, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("missing_in", ByteText, nullable=False),  # job whose listing did not show it, or ""
    sa.Column("at", UtcTime, nullable=False),
    # Of the plan or the removal that decides over it. A write with a lower one is late.
    sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    # Taken out, and kept while older batches are pending. Its state is then `planned`, for the build before.
    sa.Column("removed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint(
        "state IN ('planned', 'indexed', 'nothing_found', 'failed')", name="version_state_is_known"
    ),
    sqlite_with_rowid=False,  # the rows are the index by image id, not a second copy
)
# PostgreSQL refuses index rows over 2.7 KB, and keys may be longer: 512 characters are at most 2 KB.
KEY_HEAD_CHARS = 512
key_head = sa.func.substr(version.c.key, sa.literal_column("1"), sa.literal_column(str(KEY_HEAD_CHARS)))
sa.Index("version_by_key", version.c.generation, version.c.bucket_id, key_head)
is_in_index = version.c.vectors > sa.literal_column("0")
sa.Index(
    "version_by_etag",  # to find the same content under another key
    version.c.generation,
    version.c.etag,
    sqlite_where=is_in_index,
    postgresql_where=is_in_index,
)
is_missing = version.c.missing_in != sa.literal_column("''")
sa.Index("version_missing", version.c.missing_in, sqlite_where=is_missing, postgresql_where=is_missing)

is_removed: sa.ColumnElement[bool] = sa.literal_column("removed")
sa.Index("version_removed", version.c.generation, sqlite_where=is_removed, postgresql_where=is_removed)

# How far the book of a generation was filled from its index. `filled_to` is NULL when that is done.
book = sa.Table(
    "book",
    metadata,
    sa.Column("generation", ByteText, primary_key=True),
    sa.Column("filled_to", ByteText),
    sa.Column("sequence", sa.BigInteger, nullable=False, server_default=sa.text("0")),  # the last one given
)

# Keys of the HTTP service. A worker's user may neither read nor write these two tables (`worker_role`).
api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("key_id", ByteText, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),  # SHA-256 of the whole text, in hex
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("tenant", ByteText, nullable=False),
    sa.Column("roles", TextTuple, nullable=False),
    sa.Column("collections", TextTuple, nullable=False),
    sa.Column("buckets", TextTuple, nullable=False),
    sa.Column("acts_for_others", sa.Boolean, nullable=False),
    sa.Column("justification", TextMap, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
    sa.Column("last_used_at", UtcTime),
    sa.Column("replaces", sa.Text, nullable=False),
)

api_session = sa.Table(
    "api_session",
    metadata,
    sa.Column("digest", ByteText, primary_key=True),  # SHA-256 of the cookie, in hex
    sa.Column("key_id", ByteText, sa.ForeignKey("api_key.key_id", name="session_of_key"), nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)
