"""What is done to a system while it works, in an order that a seed decides."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.system import Supervisor
from tests.fleet import wait_until
from tests.services import Server

OUTAGE_S = 5.0
CHILD_KILLS, MAIN_KILLS = 9, 4


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    name: str
    do: Callable[[], None]


def all_disturbances(
    supervisor: Supervisor, servers: Mapping[str, Server], rng: random.Random
) -> Sequence[Disturbance]:
    """Every kind, shuffled."""
    s3 = servers["s3"]
    found = [
        Disturbance(name="broker restarted", do=servers["rabbitmq"].restart),
        Disturbance(name=f"S3 stopped for {OUTAGE_S:g} s", do=lambda: _stop_for_a_while(s3)),
        Disturbance(name=f"S3 frozen for {OUTAGE_S:g} s", do=lambda: _freeze_for_a_while(s3)),
        Disturbance(name="Milvus killed", do=lambda: _kill_and_start(servers["milvus"])),
        Disturbance(name="PostgreSQL restarted", do=servers["postgres"].restart),
    ]
    found += [Disturbance(name="child killed", do=_killer(lambda: supervisor.kill_child(rng)))] * CHILD_KILLS
    found += [Disturbance(name="worker killed", do=_killer(lambda: supervisor.kill_main(rng)))] * MAIN_KILLS
    rng.shuffle(found)
    return found


def _killer(kill: Callable[[], str | None]) -> Callable[[], None]:
    """A victim may just be restarting: wait for one."""
    return lambda: wait_until(lambda: kill() is not None, "a process to kill came up", 120)


def _stop_for_a_while(server: Server) -> None:
    server.stop()
    time.sleep(OUTAGE_S)
    server.start()


def _freeze_for_a_while(server: Server) -> None:
    server.freeze()
    time.sleep(OUTAGE_S)
    server.thaw()


def _kill_and_start(server: Server) -> None:
    server.kill()
    server.start()
