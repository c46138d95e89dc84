"""What the transparency log says of one act: who did what, why, with what result."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | tuple[Json, ...] | list[Json] | Mapping[str, Json] | None"

RECORD_VERSION = 1  # `v` of a record's JSON


class AuditKind(StrEnum):
    """Which act an entry is about. Closed: a new kind is a change of the public contract."""

    SEARCH = "search"
    VERIFICATION = "verification"  # of a search's match, by one person
    AUTHORISATION = "authorisation"  # given to, or refused for, a search or a case
    POLICY_CHANGE = "policy_change"
    KEY_CHANGE = "key_change"
    JOB = "job"  # one that writes into a collection
    DELETION = "deletion"  # of images, a generation or a whole collection
    COLLECTION_CHANGE = "collection_change"  # the tags of a collection
    PERSON_CHANGE = "person_change"  # a person over faces, and which faces are theirs
    READ = "read"  # of the log itself
    EXPORT = "export"  # of the log itself
    ERASURE = "erasure"  # of earlier records
    NEW_LOG = "new_log"  # the first entry of a log that takes the place of another


class AuditOutcome(StrEnum):
    ALLOWED = "allowed"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who acts: a person, a key or the user of a machine, and how the door knew them."""

    id: str
    role: str = ""
    auth_method: str = ""  # "key", "local_user", …
    address: str = ""  # of the network, where there is one


@dataclass(frozen=True, kw_only=True, slots=True)
class Authorisation:
    """By whom an act was allowed. `type` is "ex_ante", "48h" or "none"."""

    ref: str = ""
    authority: str = ""
    type: str = "none"
    granted_at: datetime | None = None
    expires_at: datetime | None = None


UNKNOWN = "unknown"  # in the place of a digest: the bytes of the picture were not read


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeQuality:
    """How good a picture was, or the face in it that was searched for. None is what was not measured."""

    width_px: int  # of the upright original, or of the face's box in it
    height_px: int
    sharpness: float | None = None  # 0..100, of what the model saw
    brightness: float | None = None  # 0..100, of what the model saw


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What was searched with. Never the picture itself."""

    sha256: str = ""  # of the bytes that were given, in hex, or `UNKNOWN`
    source: str = ""  # "upload", "vector" or the image's id
    etag: str = ""  # of the version of a stored picture, where it is known
    c2pa_state: str = ""
    quality: ProbeQuality | None = None
    face_box: tuple[float, ...] | None = None  # x, y, width, height, 0..1


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceDb:
    """What the probe was compared with, as it was at that moment."""

    collection: str = ""
    index_generation: str = ""
    model_fingerprint: str = ""
    row_count: int | None = None
    data_checkpoint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditParams:
    """How was searched."""

    k: int | None = None
    threshold: float | None = None
    metric: str = ""
    filters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the policy said. `reason_code` is empty where the act was allowed."""

    outcome: AuditOutcome = AuditOutcome.ALLOWED
    policy_version: int | None = None
    reason_code: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One hit of an answer. `rank` counts from 1."""

    id: str
    score: float
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verifier:
    """A person who looked at a match, and what they decided."""

    id: str
    time: datetime
    decision: str
    note: str = ""


def new_record_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRecord:
    """One entry of the log. It is never edited: a later one refers to it.

    Times are UTC and know it. Every field is in the JSON of every record, empty or not, so that a field that
    is missing shows. `details` is what the kind has and no other: for example a policy before and after.
    """

    kind: AuditKind
    actor: Actor
    started_at: datetime
    ended_at: datetime
    record_id: str = field(default_factory=new_record_id)
    tenant: str = "default"
    agency: str = ""
    on_behalf_of: str = ""
    request_id: str = ""
    purpose_code: str = ""
    offence_code: str = ""
    case_ref: str = ""
    authorisation: Authorisation = field(default_factory=Authorisation)
    legal_basis: str = ""
    probe: Probe = field(default_factory=Probe)
    reference_db: ReferenceDb = field(default_factory=ReferenceDb)
    params: AuditParams = field(default_factory=AuditParams)
    decision: Decision = field(default_factory=Decision)
    candidates: tuple[Candidate, ...] = ()
    outcome: str = ""
    verifiers: tuple[Verifier, ...] = ()
    recipients: tuple[str, ...] = ()  # to whom a result was disclosed
    retention_class: str = ""
    refers_to: tuple[str, ...] = ()  # ids of earlier records
    software_version: str = ""
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReceipt:
    """What whoever acted can keep, and check without the log.

    `proof` is a `.tlog-proof`: place in the tree, inclusion proof and signed checkpoint. The salt stands in
    its `extra` line. With the record's canonical JSON it makes the commitment, and that the leaf.
    """

    record_id: str
    index: int  # of the entry in the log, from 0
    commitment: bytes  # 32 bytes, the entry itself
    proof: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """A place in the log. Record and salt are None after an erasure; the commitment stays for ever.

    `found_by` are the copies from the record by which queries find it; empty after an erasure.
    """

    index: int
    record_id: str
    commitment: bytes  # 32 bytes: SHA-256 over salt and canonical JSON, which is what the tree holds
    salt: bytes | None
    record: bytes | None  # canonical JSON
    found_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditQuery:
    """All conditions that are given must hold. Empty texts are not given."""

    kind: AuditKind | None = None
    actor: str = ""
    tenant: str = ""
    collection: str = ""
    purpose_code: str = ""
    case_ref: str = ""
    probe_sha256: str = ""
    refers_to: str = ""
    since: datetime | None = None  # by the start of the act
    until: datetime | None = None  # this moment is out


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeHead:
    """The newest signed state. `checkpoint` is the whole signed note, with witnesses' signatures if it has
    any; it is empty before the first entry.
    """

    size: int
    root: bytes
    checkpoint: str
