"""Let go of the details of old jobs, and keep their counts (decision 0077)."""

import time
from datetime import timedelta

from pipeline.errors import ArgumentError
from pipeline.ports import PrunedLedger
from pipeline.service.access import Caller, Permission, require
from pipeline.types import Prunable, Pruned

# A clock that is wrong by an hour must not make a job old that has just ended.
LEAST_AGE = timedelta(days=1)
# SQLite lets in whoever happens to look when nobody writes, and a writer that waits looks ten times a second.
PAUSE_S = 0.2
PAUSE_AFTER_ROWS = 500  # a smaller page is the last of its job


def prune_jobs(
    ledger: PrunedLedger, caller: Caller, *, older_than: timedelta, dry_run: bool = False
) -> Pruned:
    """Delete the details of jobs that ended so long ago. Safe to stop at any time, and to run again.

    Jobs that run or are paused are left alone. The newest job of a source keeps all that a retry or a resume
    needs. Of the others, all batches and failures go. Refused submissions go altogether.

    Raises:
        ArgumentError: jobs of less than a day are not old.
    """
    require(caller, Permission.OPERATE)
    if older_than < LEAST_AGE:
        hours = older_than / timedelta(hours=1)
        raise ArgumentError(f"jobs can be pruned when they are a day old or more, not {hours:g} hours")
    done = Pruned()
    for found in ledger.find_prunable(older_than):
        done += ledger.count_prunable(found) if dry_run else _prune(found, ledger)
    return done


def _prune(found: Prunable, ledger: PrunedLedger) -> Pruned:
    """Page by page, each a short transaction, with room for others in between."""
    done = page = ledger.prune_page(found)
    while rows := page.batches + page.failures:
        if rows >= PAUSE_AFTER_ROWS:
            time.sleep(PAUSE_S)
        page = ledger.prune_page(found)
        done += page
    return done
