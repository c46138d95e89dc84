"""`pictor init --wait`: a system that is started as a whole comes up in any order."""

from pathlib import Path

from tests.fleet import Fleet, own_place
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server, restored


def test_init_waits_for_a_service_that_comes_up_later(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path: Path,
) -> None:
    with (
        restored(s3_server),
        own_place(rabbitmq, s3_server, milvus_server, postgres, tmp_path, PICTOR_S3_ATTEMPTS="1") as env,
        Fleet(env, tmp_path) as fleet,
    ):
        s3_server.stop()
        assert fleet.pictor("init").returncode == 1  # without --wait it says what is away, and ends
        said = []
        with fleet.begin("init", "--wait", "120") as waiting:
            assert waiting.stdout
            for line in waiting.stdout:
                said.append(line)
                if line.startswith("waiting: "):
                    break
            s3_server.start()
            said += waiting.stdout.read().splitlines()
        assert waiting.returncode == 0, said
        assert (
            said[-1]
            == "broker: queues plan, search, prepare.f5c4f95b, embed.f5c4f95b, search.f5c4f95b and dead"
        )
