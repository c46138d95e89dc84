"""Look at faces through a running service."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.cli.running_service import RunningService
from pipeline.cli.search_options import SearchOptions
from pipeline.client_settings import ClientSettings
from pipeline.errors import ImageError


def detect_there(
    files: Sequence[Path], collection: str, service: RunningService
) -> Iterator[Mapping[str, object]]:
    """As `detect_here`. The files are sent."""
    name = collection or ClientSettings.from_env().collection
    with service.connect() as pictor:
        for file in files:
            try:
                found: Mapping[str, object] = pictor.detect_faces(file, collection=name).raw
            except ImageError as err:
                found = {"error": str(err), "code": err.code.value}
            yield {"picture": str(file), **found}


def compare_there(
    first: Path, second: Path, wanted: SearchOptions, service: RunningService
) -> Mapping[str, object]:
    with service.connect() as pictor:
        found = pictor.compare_faces(
            first,
            second,
            collection=wanted.collection or ClientSettings.from_env().collection,
            min_score=wanted.min_score,
            on_behalf_of=wanted.on_behalf_of,
            purpose=wanted.purpose,
            case=wanted.case,
            offence=wanted.offence,
            authorisation=wanted.authorisation,
            authority=wanted.authority,
        )
    return found.raw
