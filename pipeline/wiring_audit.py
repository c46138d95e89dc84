"""From settings to the transparency log: its key, where it is published, and its witnesses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from pipeline import wiring
from pipeline.errors import ConfigError
from pipeline.reports.thresholds import Thresholds, read_hours
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.adapters.ledger.sql_audit_log import SqlAuditLog
    from pipeline.audit.checkpoint import NamedCheckpoint
    from pipeline.audit.loss import PublishedTree
    from pipeline.audit.note import SigningKey, VerifierKey
    from pipeline.audit.place import Place
    from pipeline.audit.publisher import Cosign
    from pipeline.audit.witness_policy import WitnessPolicy


@contextmanager
def open_audit_log(settings: Settings) -> Iterator["SqlAuditLog"]:
    """The log of this process. What is appended is published by a thread of its own, and at the end.

    Raises:
        ConfigError: the key or the witness policy cannot be used.
    """
    from pipeline.adapters.ledger.sql_audit_log import open_audit_log as open_sql_audit_log
    from pipeline.audit.publisher import Publisher

    key, places = audit_key(settings), audit_places(settings)
    copies = checkpoint_places(settings)

    def guard() -> Sequence["NamedCheckpoint"]:
        return all_checkpoints(settings, key.verifier)

    with open_sql_audit_log(settings.ledger_target, key, ca_file=settings.ledger_ca_file, guard=guard) as log:
        publisher = Publisher(
            log, key.verifier, tiles=places[0] if places else None, copies=copies, cosign=_cosign(settings)
        )
        log.on_commit = publisher.notify
        log.agency, log.legal_basis = settings.audit_agency, settings.audit_legal_basis
        try:
            yield log
        finally:
            publisher.close()


@contextmanager
def open_recording(settings: Settings) -> Iterator["SqlAuditLog | None"]:
    """The log for searches. None where PICTOR_AUDIT is `off`, and nowhere else."""
    if settings.audit == "off":
        yield None
        return
    with open_audit_log(settings) as log:
        yield log


def audit_key(settings: Settings) -> "SigningKey":
    """The key of the settings, or of the home, where it is made at the first use."""
    from pipeline.audit.key_file import load_or_make_key, read_key

    if secret := settings.audit_key.get_secret_value():
        key = read_key(secret, settings.audit_origin)
        name = key.verifier.name
        if settings.audit_origin not in ("", name):
            raise ConfigError(
                f"PICTOR_AUDIT_ORIGIN is {settings.audit_origin}, PICTOR_AUDIT_KEY is of {name}"
            )
        return key
    wiring.make_home(settings)
    return load_or_make_key(settings.home, settings.audit_origin)


def audit_places(settings: Settings) -> list["Place"]:
    """Where tiles are published: one place, or none."""
    target = settings.audit_tiles_target
    return [_place(target, settings, of="PICTOR_AUDIT_TILES")] if target else []


def checkpoint_places(settings: Settings) -> list["Place"]:
    """Where checkpoints are written besides: one place, or none."""
    target = settings.audit_checkpoints
    return [_place(target, settings, of="PICTOR_AUDIT_CHECKPOINTS")] if target else []


def published_checkpoints(settings: Settings, key: "VerifierKey") -> list["NamedCheckpoint"]:
    """Those in the second place."""
    from pipeline.audit.place import read_checkpoints

    return [one for place in checkpoint_places(settings) for one in read_checkpoints(place, key)]


def all_checkpoints(settings: Settings, key: "VerifierKey") -> list["NamedCheckpoint"]:
    """Those of both places."""
    from pipeline.audit.place import read_checkpoints

    places = (*audit_places(settings), *checkpoint_places(settings))
    return [one for place in places for one in read_checkpoints(place, key)]


def published_tree(settings: Settings, key: "VerifierKey") -> "PublishedTree | None":
    """The tiles with their checkpoint. None where nothing is published."""
    from pipeline.audit.loss import PublishedTree
    from pipeline.audit.place import read_checkpoint
    from pipeline.audit.tiles import CHECKPOINT

    for place in audit_places(settings):
        if (checkpoint := read_checkpoint(place, CHECKPOINT, key)) is not None:
            return PublishedTree(place=place, checkpoint=checkpoint)
    return None


def witness_policy(settings: Settings) -> "WitnessPolicy | None":
    from pipeline.audit.witness_policy import parse_policy

    if settings.audit_policy is None:
        return None
    try:
        return parse_policy(settings.audit_policy.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"PICTOR_AUDIT_POLICY: {settings.audit_policy} cannot be read") from err


def review_thresholds(settings: Settings) -> Thresholds:
    """Raises ConfigError, naming the setting."""
    return Thresholds(
        repeats=settings.review_repeats,
        hours=read_hours(settings.review_hours, settings.review_time_zone),
        burst=settings.review_burst_searches,
        burst_within=timedelta(minutes=settings.review_burst_minutes),
        purpose_share=settings.review_purpose_percent / 100,
        purpose_searches=settings.review_purpose_searches,
        verify_within=timedelta(days=settings.review_verify_days),
    )


def _cosign(settings: Settings) -> "Cosign | None":
    from pipeline.adapters.http_post import post
    from pipeline.audit.witnesses import Witnesses

    policy = witness_policy(settings)
    asked = [witness for witness in policy.witnesses.values() if witness.url] if policy else []
    return Witnesses(asked, post).cosign if asked else None


def _place(target: str, settings: Settings, *, of: str) -> "Place":
    from pipeline.audit.place import Place

    place = wiring.make_place(target, of=of)
    url = place.url if place.url.startswith("s3://") else f"{place.bucket}/"
    return Place(store=wiring.open_store(settings), bucket=place.bucket, prefix=place.prefix, url=url)
