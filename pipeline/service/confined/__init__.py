"""The ports as one caller sees them: the collections and jobs of the own tenant, as far as the grants go.

No other place confines anybody. A use case is given these ports and cannot reach past them (decision 0085).
"""

from pipeline.service.confined.index import ConfinedIndex
from pipeline.service.confined.ledger import ConfinedLedger
from pipeline.service.confined.models import ConfinedModels
from pipeline.service.confined.persons import ConfinedPersons
from pipeline.service.confined.policies import ConfinedPolicies
from pipeline.service.confined.scope import Scope, scope_of
from pipeline.service.confined.verifications import ConfinedVerifications

__all__ = [
    "ConfinedIndex",
    "ConfinedLedger",
    "ConfinedModels",
    "ConfinedPersons",
    "ConfinedPolicies",
    "ConfinedVerifications",
    "Scope",
    "scope_of",
]
