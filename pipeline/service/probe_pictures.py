"""A small picture of what was searched with, for whoever verifies a match of it."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import NotFoundError
from pipeline.ports import ImageLimits, ObjectStore, VectorIndex
from pipeline.service.access import Caller, require_names
from pipeline.service.images import show_image
from pipeline.service.kept_probes import check_digest
from pipeline.service.small_picture import drawn
from pipeline.service.verifications import ShownMatch, VerificationPorts, show_match


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturePorts:
    """Args: `check_object` raises DeniedError for a bucket and key that this service may not read."""

    verifications: VerificationPorts
    store: ObjectStore
    index: VectorIndex
    limits: ImageLimits
    check_object: Callable[[str, str], None]


def probe_picture(
    match_id: str, ports: PicturePorts, caller: Caller, *, side_px: int, only_face: bool = False
) -> bytes:
    """JPEG bytes, upright, neither side over `side_px`.

    Args:
        only_face: the face that was searched for. It is the whole picture where it was searched with no face.

    Raises:
        NotFoundError: no such match, or no picture of what was searched with.
        DeniedError: the caller may not verify, or not see this object.
        ImageError: it has changed since, or cannot be decoded now.
    """
    shown = show_match(match_id, ports.verifications, caller)
    face = shown.probe_face if only_face else None
    return drawn(_body(shown, ports, caller), limits=ports.limits, side_px=side_px, face=face)


def _body(shown: ShownMatch, ports: PicturePorts, caller: Caller) -> bytes:
    probe, match = shown.probe, shown.match
    if probe.source == "upload":
        return ports.verifications.probes.read(match.search_id, probe.sha256, ports.limits)
    if probe.source in ("vector", "text"):
        raise NotFoundError(f"the search was made with a {probe.source}, so there is no picture of it")
    if shown.probe_object is not None:
        return _object(shown.probe_object, probe.sha256, match.collection, ports, caller)
    row = show_image(probe.source, match.collection, ports.index, caller)
    return ports.store.get(row.ref, max_bytes=ports.limits.max_object_bytes).body


def _object(
    place: tuple[str, str], sha256: str, collection: str, ports: PicturePorts, caller: Caller
) -> bytes:
    bucket, key = place
    require_names(caller, collection=collection, buckets=[bucket])
    ports.check_object(bucket, key)
    body = ports.store.get(ports.store.stat(bucket, key), max_bytes=ports.limits.max_object_bytes).body
    check_digest(body, sha256)
    return body
