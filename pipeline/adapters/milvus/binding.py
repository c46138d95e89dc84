"""The record of a collection: the model that its vectors belong to.

It is written into the collection, so that it is known without the ledger: as JSON in the description (people
see it) and in a property (Milvus Lite drops descriptions).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import TargetError
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.types import BoundModel, CollectionInfo, CollectionRef, Int8Recall, ModelSpec, generation_of

SCHEMA_VERSION = 1
BINDING_PROPERTY = "pictor.binding"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """The record of a collection, as its properties hold it."""

    schema_version: int
    name: str
    model_name: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str
    precision: str = "float32"  # collections that do not say are from before there was a choice
    has_views: bool = False
    reads_text: bool = False
    beside: Mapping[str, "Binding"] = field(default_factory=dict)  # the models of further embeddings, by name
    int8: Int8Recall | None = None  # of a model in int8

    @property
    def physical(self) -> str:
        return generation_of(self.name, self.fingerprint)

    @property
    def ref(self) -> CollectionRef:
        return CollectionRef(name=self.name, fingerprint=self.fingerprint)

    @property
    def model(self) -> BoundModel:
        beside = {embedding: binding.model for embedding, binding in self.beside.items()}
        return BoundModel(
            name=self.model_name,
            dim=self.dim,
            fingerprint=self.fingerprint,
            reads_text=self.reads_text,
            beside=beside,
        )

    def to_info(self, rows: int, *, live: bool = True) -> CollectionInfo:
        return CollectionInfo(
            name=self.name,
            model_name=self.model_name,
            model_address=self.model_source,
            fingerprint=self.fingerprint,
            dim=self.dim,
            vector_type=self.vector_type,
            precision=self.precision,
            rows=rows,
            live=live,
            has_views=self.has_views,
            reads_text=self.reads_text,
            beside={
                embedding: binding.to_info(rows, live=live) for embedding, binding in self.beside.items()
            },
            int8=self.int8,
        )


def bind(name: str, model: ModelSpec, vector_type: str, precision: str) -> Binding:
    return Binding(
        schema_version=SCHEMA_VERSION,
        name=name,
        model_name=model.name,
        model_source=model.address,
        fingerprint=model.fingerprint,
        dim=model.dim,
        vector_type=vector_type,
        precision=precision,
        has_views=model.has_views,
        reads_text=model.reads_text,
        beside={
            each.name: bind(name, each.spec, vector_type, precision_of(each.spec, precision))
            for each in model.beside
        },
        int8=model.int8,
    )


def precision_of(model: ModelSpec, setting: str) -> str:
    """That the vectors of a model are computed in. The builtin one has no choice."""
    return "float32" if model.address == DEFAULT_MODEL else setting


def read_binding(described: Mapping[str, Any]) -> Binding | None:
    """The binding in the answer of describe_collection. None when somebody else made the collection.

    Raises:
        TargetError: it was made by a newer version, whose rows this one cannot read.
    """
    text = described.get("properties", {}).get(BINDING_PROPERTY) or described.get("description", "")
    try:
        fields = json.loads(text)["pictor"]
        version = int(fields["schema_version"])
    except (ValueError, KeyError, TypeError):
        return None
    if version > SCHEMA_VERSION:
        raise TargetError(
            f"collection {described['collection_name']!r} has schema version {version}; "
            f"this version of Pictor knows {SCHEMA_VERSION}"
        )
    return _from_fields(fields)


def binding_text(binding: Binding) -> str:
    """What nearly all do without is left out: those are as they were before there was a choice."""
    fields = asdict(binding)
    for name in ("beside", "int8"):
        if not fields[name]:
            del fields[name]
    return json.dumps({"pictor": fields}, separators=(",", ":"))


def _from_fields(fields: Mapping[str, Any]) -> Binding:
    known = {name: fields[name] for name in Binding.__dataclass_fields__ if name in fields}
    beside = {embedding: _from_fields(of_it) for embedding, of_it in known.pop("beside", {}).items()}
    int8 = known.pop("int8", None)
    return Binding(**known, beside=beside, int8=Int8Recall(**int8) if int8 else None)
