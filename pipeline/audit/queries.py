"""What a record is found by."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from pipeline.audit.canonical import as_unicode
from pipeline.types.audit import AuditQuery, AuditRecord


class Facets(TypedDict):
    """The parts of a record that a ledger keeps beside it, to find it by."""

    kind: str
    actor: str
    tenant: str
    collection: str
    purpose_code: str
    case_ref: str
    probe_sha256: str


def facets_of(record: AuditRecord) -> Facets:
    return {
        "kind": record.kind.value,
        "actor": record.actor.id,
        "tenant": record.tenant,
        "collection": record.reference_db.collection,
        "purpose_code": record.purpose_code,
        "case_ref": record.case_ref,
        "probe_sha256": record.probe.sha256,
    }


def asked_facets(query: AuditQuery) -> dict[str, str]:
    """The facets that a query asks for, with their values."""
    wanted: Facets = {
        "kind": query.kind.value if query.kind else "",
        "actor": query.actor,
        "tenant": query.tenant,
        "collection": query.collection,
        "purpose_code": query.purpose_code,
        "case_ref": query.case_ref,
        "probe_sha256": query.probe_sha256,
    }
    return {name: str(value) for name, value in wanted.items() if value}


def said_facets(record: AuditRecord) -> dict[str, str]:
    """As the JSON of the record has them, which shows the bytes of what is no Unicode."""
    return {name: as_unicode(str(value)) for name, value in facets_of(record).items()}


def facets_in(record: Mapping[str, Any]) -> Facets:
    """The same of a record's JSON."""
    return {
        "kind": record["kind"],
        "actor": record["actor"]["id"],
        "tenant": record["tenant"],
        "collection": record["reference_db"]["collection"],
        "purpose_code": record["purpose_code"],
        "case_ref": record["case_ref"],
        "probe_sha256": record["probe"]["sha256"],
    }


def said_references(record_ids: Iterable[str]) -> str:
    """The ids of earlier records as one text, whatever their order."""
    return ",".join(sorted(set(record_ids)))


def matches(record: AuditRecord, query: AuditQuery) -> bool:
    facets = facets_of(record)
    return (
        asked_facets(query).items() <= facets.items()
        and (not query.refers_to or query.refers_to in record.refers_to)
        and (query.since is None or record.started_at >= query.since)
        and (query.until is None or record.started_at < query.until)
    )
