"""Flower, the web page over Celery's workers, behind a user and a password."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from devstack import http
from devstack.errors import StackError
from devstack.service import Service

_REPOSITORY = Path(__file__).resolve().parents[1]
_CELERY = _REPOSITORY / ".venv" / "bin" / "celery"


class Flower(Service):
    """Needs the variables of the other services: call connect_to before the first start."""

    name: ClassVar[str] = "flower"

    @classmethod
    def missing(cls) -> str | None:
        return None if _CELERY.exists() else f"Flower is not installed: no {_CELERY}; run `make setup`"

    def __init__(self, stack_dir: Path) -> None:
        super().__init__(stack_dir)
        self._others: dict[str, str] = {}

    def connect_to(self, variables: Mapping[str, str]) -> None:
        self._others = dict(variables)

    def _prepare(self) -> None:
        self._take_ports("http")
        self._record.secrets = {"user": "pictor", "password": secrets.token_hex(16)}

    def _launch(self) -> None:
        if "PICTOR_RABBITMQ_API" not in self._others:
            raise StackError("flower: it looks at RabbitMQ, which was not started in this directory")
        login = "{user}:{password}".format(**self._record.secrets)
        self._spawn(
            "server",
            [str(_CELERY), "--workdir", str(_REPOSITORY), "-A", "workers.app", "flower"],
            **self._others,
            FLOWER_ADDRESS="127.0.0.1",
            FLOWER_PORT=str(self.ports["http"]),
            FLOWER_BROKER_API=self._others["PICTOR_RABBITMQ_API"],  # or its broker page is empty
            FLOWER_BASIC_AUTH=login,  # here, because an argument is visible to every user of the machine
        )
        self._wait(self.answers, "server")

    def answers(self) -> bool:
        return self.is_prepared and http.get(self.url) is not None

    @property
    def url(self) -> str:
        login = "{user}:{password}".format(**self._record.secrets)
        return f"http://{login}@127.0.0.1:{self.ports['http']}/"

    def variables(self) -> dict[str, str]:
        return {"PICTOR_FLOWER_URL": self.url}
