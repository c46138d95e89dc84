"""The models of the caller's collections."""

from pipeline.ports import ImageEmbedder, TextEmbedder, ViewFinder
from pipeline.service.confined.scope import Scope
from pipeline.service.models import Models
from pipeline.types import CollectionRef


class ConfinedModels:
    """Implements `service.models.Models`."""

    def __init__(self, models: Models, scope: Scope) -> None:
        self._models = models
        self._scope = scope

    def answering(self, target: CollectionRef, embedding: str = "") -> ImageEmbedder:
        with self._scope.words():
            return self._models.answering(self._scope.stored_ref(target), embedding)

    def reading(self, target: CollectionRef, embedding: str = "") -> TextEmbedder:
        with self._scope.words():
            return self._models.reading(self._scope.stored_ref(target), embedding)

    def finding(self, target: CollectionRef) -> ViewFinder | None:
        with self._scope.words():
            return self._models.finding(self._scope.stored_ref(target))
