"""Look at faces with a model that this process opens."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline import wiring
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_ports import open_search_ports
from pipeline.client.queries import picture_of
from pipeline.errors import ImageError
from pipeline.search.query import Bytes
from pipeline.service.access import local_caller
from pipeline.service.answers import comparison_json, error_json, faces_json
from pipeline.service.arguments import read_justification, read_person, read_search
from pipeline.service.faces import compare_faces, detect_faces
from pipeline.settings import Settings


def detect_here(files: Sequence[Path], collection: str) -> Iterator[Mapping[str, object]]:
    """An answer for each file, in order."""
    settings = Settings.from_env()
    limits, name = wiring.limits_of(settings), collection or settings.collection
    with open_search_ports(settings, name) as ports:
        for file in files:
            picture = _read(file)
            try:
                found = faces_json(detect_faces(picture, name, ports, limits, local_caller()))
            except ImageError as err:
                found = error_json(err)
            yield {"picture": str(file), **found}


def compare_here(first: Path, second: Path, wanted: SearchOptions) -> Mapping[str, object]:
    settings = Settings.from_env()
    request = read_search(
        collection=wanted.collection or settings.collection,
        min_score=wanted.min_score,
        justification=read_justification(**wanted.stated),
    )
    caller = local_caller(on_behalf_of=read_person(wanted.on_behalf_of))
    with open_search_ports(settings, request.collection) as ports:
        found = compare_faces(_read(first), _read(second), request, ports, wiring.limits_of(settings), caller)
    return comparison_json(found)


def _read(file: Path) -> Bytes:
    return Bytes(text=str(file), body=picture_of(file))
