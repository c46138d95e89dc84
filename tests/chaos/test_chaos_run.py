"""The chaos run in small; docs/background/chaos.md describes the long one, `python -m tests.chaos.run`."""

from collections import Counter
from pathlib import Path

from tests.chaos.run import run
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, Services

OBJECTS = 400


def test_a_job_under_fire_ends_as_it_would_have_in_peace(
    services: Services,
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path: Path,
) -> None:
    for server in (rabbitmq, s3_server, milvus_server, postgres):
        server.start()  # skips the test when it is somebody else's
    outcome = run(services.stack, tmp_path, seed=1, objects=OBJECTS, staged=False, tell=print)
    assert outcome.faults() == []
    kinds = Counter(event.name for event in outcome.happened)
    assert kinds["child killed"] + kinds["worker killed"] >= 12
    assert len(kinds) == 7
    assert all(event.done < OBJECTS for event in outcome.happened)
