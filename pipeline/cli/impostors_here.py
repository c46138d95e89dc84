"""Search a gallery for persons who are not in it, and say who was found all the same."""

from collections.abc import Mapping
from importlib.metadata import version

from pipeline.cli.evaluate_files import open_calibration
from pipeline.cli.evaluate_here import now, open_model, similarity_of, write_sections
from pipeline.cli.evaluate_options import EvaluateOptions, cosines_of
from pipeline.cli.evaluate_sections import sections_of_search
from pipeline.cli.output import write_json
from pipeline.errors import ArgumentError
from pipeline.evaluation.impostor_search import ImpostorSearch, impostor_search_json, search_impostors
from pipeline.service.labelled_images import Columns, read_source


def search_impostors_here(wanted: EvaluateOptions, probes: str, gallery: str) -> None:
    """Args: `probes` and `gallery` are read as SOURCE is. An image in no folder is somebody of its own.

    Raises:
        ArgumentError: the options do not go together.
    """
    _check(wanted, probes, gallery)
    opened = open_model(wanted.model)
    given = open_calibration(wanted.calibration, opened.spec)
    at = cosines_of(wanted.at, given)
    sought, searched = (
        opened.embed(read_source(text, opened.ports.store, columns, alone_is_a_person=True))
        for text, columns in ((probes, wanted.columns), (gallery, Columns(person=wanted.columns.person)))
    )
    search = ImpostorSearch(
        made_at=now(),
        pictor=version("pictor"),
        model=opened.name,
        calibration=given.version if given else "",
        probes=sought.source.name,
        gallery=searched.source.name,
        probe_persons=len(sought.labelled.names),
        probe_images=len(sought.labelled),
        gallery_images=len(searched.labelled),
        in_both=sorted(set(sought.labelled.names) & set(searched.labelled.names)),
        failed_probes=len(sought.failed),
        failed_gallery=len(searched.failed),
        found=search_impostors(sought.labelled, searched.labelled, at, similarity=similarity_of(given)),
    )
    if wanted.as_json:
        write_json(impostor_search_json(search))
    else:
        write_sections(sections_of_search(search))


def _check(wanted: EvaluateOptions, probes: str, gallery: str) -> None:
    if wanted.source or not (probes and gallery):
        raise ArgumentError("give SOURCE alone, or --probes and --gallery together")
    of_source: Mapping[str, object] = {
        "--calibrate": wanted.calibrate,
        "--fpir": wanted.fpir,
        "--gallery-size": wanted.gallery_size,
        "--html": wanted.html,
        "--card": wanted.card,
    }
    for option, value in of_source.items():
        if value:
            raise ArgumentError(f"{option} needs SOURCE, and does not go with --probes and --gallery")
    if not wanted.at:
        raise ArgumentError("--probes and --gallery need a threshold, for example --at 80 --at 99")
