"""The service that commands go through: that of PICTOR_API, or one that holds the index of this home."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.client_settings import ClientSettings
from pipeline.errors import ArgumentError
from pipeline.running import digest_of_stores, find_server

if TYPE_CHECKING:
    from pipeline.client import Pictor

PATIENCE_S = 300.0  # for one answer: a service that has just begun loads its model first


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningService:
    """`key` is shown by nothing. A service that is `beside` runs here, as the same user."""

    url: str
    key: str = field(repr=False)
    is_beside: bool

    def connect(self) -> "Pictor":
        from pipeline.client import Pictor

        return Pictor(self.url, key=self.key, timeout_s=PATIENCE_S)

    def refuse(self, options: Mapping[str, object]) -> None:
        """Raises ArgumentError for an option that is given, and that no service reads."""
        for option, value in options.items():
            if value:
                how = "stop it first" if self.is_beside else "unset PICTOR_API"
                raise ArgumentError(
                    f"{option} cannot be given to the service at {self.url}; to run the command here, {how}"
                )


def find_service(found: ClientSettings | None = None) -> RunningService | None:
    """None when the command does its work itself."""
    found = found or ClientSettings.from_env()
    if found.api:
        return RunningService(url=found.api, key=found.api_key, is_beside=False)
    stores = digest_of_stores(milvus_uri=found.milvus_uri, ledger_url=found.ledger_url)
    server = find_server(found.home, stores=stores)
    if server is None:
        return None
    return RunningService(url=server.url, key=server.token, is_beside=True)
