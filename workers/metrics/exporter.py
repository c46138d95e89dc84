"""A worker's page for Prometheus: one for all of its processes, answered by the main process.

Children are fresh interpreters that come and go, and none of them could answer for the others. Each writes
its counts to files of its own in the worker's folder, which is emptied when the worker starts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.settings import Settings
from workers.identity import share_metrics_in
from workers.metrics.metrics import metrics
from workers.metrics.page import served_page


@contextmanager
def exported_metrics(
    settings: Settings, folder: Path, *, queues: Sequence[str], children: int
) -> Iterator[None]:
    """Answer `GET /metrics` while it lasts; do nothing when no port is set. Before the first child starts.

    Args:
        folder: the worker's, empty.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    if not settings.metrics_port:
        share_metrics_in(None)
        yield
        return
    files = folder / "metrics"
    files.mkdir()
    share_metrics_in(files)
    metrics().record_worker(",".join(queues), children)
    from prometheus_client import CollectorRegistry

    from workers.metrics.files import MetricFiles

    registry = CollectorRegistry()
    registry.register(MetricFiles(files, folder))
    with served_page(settings, registry):
        yield
