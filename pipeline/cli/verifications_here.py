"""The matches to verify of the ledger that this process opens."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from pipeline import wiring, wiring_audit
from pipeline.service import verifications
from pipeline.service.access import Caller, Permission, local_caller, require
from pipeline.service.accountability import Accountability
from pipeline.service.answers import match_json, shown_match_json
from pipeline.service.kept_probes import KeptProbes
from pipeline.service.verifications import VerificationPorts
from pipeline.settings import Settings
from pipeline.types import MatchDecision

Fields = Mapping[str, object]


@contextmanager
def verifications_here(person: str) -> Iterator["VerificationsHere"]:
    """Args: `person` who decides, or "" for the user of this machine."""
    settings = Settings.from_env()
    with wiring.open_ledger(settings) as ledger, wiring_audit.open_recording(settings) as log:
        ports = VerificationPorts(
            book=ledger.verifications,
            answers_to=Accountability(log=log, policies=ledger.policies, index=None),
            probes=_probes(settings),
        )
        yield VerificationsHere(ports, local_caller(on_behalf_of=person))


class VerificationsHere:
    def __init__(self, ports: VerificationPorts, caller: Caller) -> None:
        self._ports, self._caller = ports, caller

    def list(self, collection: str, limit: int) -> Iterable[Fields]:
        found = verifications.list_matches(self._ports, self._caller, collection=collection, limit=limit)
        return [match_json(match) for match in found]

    def show(self, match_id: str) -> Fields:
        return shown_match_json(verifications.show_match(match_id, self._ports, self._caller))

    def decide(self, match_id: str, decision: MatchDecision, reason: str) -> Fields:
        made = verifications.decide_match(match_id, decision, reason, self._ports, self._caller)
        return shown_match_json(made)


def sweep_here(opened_before: datetime | None) -> int:
    """See `KeptProbes.sweep`."""
    settings = Settings.from_env()
    require(local_caller(), Permission.OPERATE)
    with wiring.open_ledger(settings) as ledger:
        return _probes(settings).sweep(ledger.verifications, opened_before=opened_before)


def _probes(settings: Settings) -> KeptProbes:
    place = wiring.open_uploads(settings, driver=wiring.driver_here(settings))
    return KeptProbes(store=wiring.open_store(settings), place=place)
