"""Read labelled images, embed them in this process, and say how often the model was wrong."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipeline import wiring
from pipeline.capacity import Load
from pipeline.cli.evaluate_card import card_of
from pipeline.cli.evaluate_page import page_of
from pipeline.cli.evaluate_sections import Section, sections_of, sections_of_search
from pipeline.cli.output import note, warn, write_json, write_line, write_table
from pipeline.cli.rights import share
from pipeline.errors import ArgumentError
from pipeline.evaluation.calibration import Calibration, calibration_json, read_calibration
from pipeline.evaluation.comparisons import Comparisons, compare_all
from pipeline.evaluation.error_rates import ModelName, error_rates_json
from pipeline.evaluation.fit_calibration import fit_calibration
from pipeline.evaluation.impostor_search import ImpostorSearch, impostor_search_json, search_impostors
from pipeline.evaluation.measure import Failed, Setup, measure_all
from pipeline.evaluation.verification import Similarity, no_similarity
from pipeline.names import visible
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.service.embed_labelled import EmbeddedImages, EvaluationPorts, embed_labelled
from pipeline.service.labelled_images import Columns, read_source
from pipeline.settings import Settings
from pipeline.types import ModelSpec

MAX_CALIBRATION_BYTES = 2**20
FIRST_FAILURES = 5  # that are named


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """What the command line says."""

    source: str
    model: str
    at: Sequence[float]
    calibration: Path | None
    calibrate: Path | None
    fpir: float | None
    gallery_size: int | None
    columns: Columns
    not_enrolled: float
    seed: int
    ignore_failed: bool
    description: str
    as_json: bool
    html: Path | None
    card: Path | None


def evaluate_here(wanted: EvaluateOptions) -> None:
    """Raises ArgumentError: the options do not go together, or a file cannot be read or written."""
    _check(wanted)
    ports, settings = _open_ports(wanted.model)
    name = model_name(ports.embedder.spec)
    given = _read_calibration(wanted.calibration, ports.embedder.spec)
    at = [_cosine_of(threshold, given) for threshold in wanted.at] if not wanted.calibrate else []
    images = embed_labelled(
        read_source(wanted.source, ports.store, wanted.columns), ports, wiring.limits_of(settings)
    )
    _say_failures(images)
    comparisons = compare_all(images.labelled)
    if wanted.calibrate:
        given = _write_calibration(wanted.calibrate, images, comparisons, name, wanted)
        at = [_cosine_of(threshold, given) for threshold in wanted.at]
    rates = measure_all(
        images.labelled,
        comparisons,
        [
            Failed(person=failed.image.person, reason=failed.reason, subgroups=failed.image.subgroups)
            for failed in images.failed
        ],
        Setup(
            model=name,
            pictor=version("pictor"),
            made_at=_now(),
            source=images.source.name,
            description=wanted.description,
            unlabelled=images.source.unlabelled,
            several_views=images.several_views,
            at=at,
            seed=wanted.seed,
            not_enrolled_share=wanted.not_enrolled,
            ignore_failed=wanted.ignore_failed,
            fpir=wanted.fpir,
            gallery_size=wanted.gallery_size or 0,
            calibration=given.version if given else "",
            similarity=_similarity_of(given),
        ),
    )
    if wanted.html:
        _write(wanted.html, page_of(rates), "--html")
    if wanted.card:
        _write(wanted.card, card_of(rates), "--card")
    if wanted.as_json:
        write_json(error_rates_json(rates))
    else:
        _write_sections(sections_of(rates))
    if wanted.fpir is not None and rates.floor is None:
        warn("no floor can be suggested: there are too few comparisons of different persons")


def search_impostors_here(wanted: EvaluateOptions, probes: str, gallery: str) -> None:
    """Search a gallery for persons who are not in it, and say who was found all the same."""
    unused: Mapping[str, object] = {
        "--calibrate": wanted.calibrate,
        "--fpir": wanted.fpir,
        "--gallery-size": wanted.gallery_size,
        "--html": wanted.html,
        "--card": wanted.card,
    }
    if refused := [option for option, value in unused.items() if value]:
        raise ArgumentError(f"{refused[0]} needs SOURCE, and does not go with --probes and --gallery")
    if not wanted.at:
        raise ArgumentError("--probes and --gallery need a threshold, for example --at 80 --at 99")
    ports, settings = _open_ports(wanted.model)
    given = _read_calibration(wanted.calibration, ports.embedder.spec)
    at = [_cosine_of(threshold, given) for threshold in wanted.at]
    limits = wiring.limits_of(settings)
    sought, searched = (
        embed_labelled(read_source(text, ports.store, columns, alone_is_a_person=True), ports, limits)
        for text, columns in ((probes, wanted.columns), (gallery, Columns(person=wanted.columns.person)))
    )
    for images in (sought, searched):
        _say_failures(images)
    search = ImpostorSearch(
        made_at=_now(),
        pictor=version("pictor"),
        model=model_name(ports.embedder.spec),
        calibration=given.version if given else "",
        probes=sought.source.name,
        gallery=searched.source.name,
        probe_persons=len(sought.labelled.names),
        probe_images=len(sought.labelled),
        gallery_images=len(searched.labelled),
        in_both=sorted(set(sought.labelled.names) & set(searched.labelled.names)),
        failed_probes=len(sought.failed),
        failed_gallery=len(searched.failed),
        found=search_impostors(sought.labelled, searched.labelled, at, similarity=_similarity_of(given)),
    )
    if wanted.as_json:
        write_json(impostor_search_json(search))
    else:
        _write_sections(sections_of_search(search))


def model_name(spec: ModelSpec) -> ModelName:
    return ModelName(
        name=spec.name, address=spec.address, architecture=spec.architecture, fingerprint=spec.fingerprint
    )


def _check(wanted: EvaluateOptions) -> None:
    if not wanted.source:
        raise ArgumentError("give SOURCE, or --probes and --gallery")
    if (wanted.fpir is None) != (wanted.gallery_size is None):
        raise ArgumentError("--fpir and --gallery-size go together: a floor depends on the size of a gallery")
    if wanted.calibrate and wanted.calibration:
        raise ArgumentError("--calibrate makes a calibration and --calibration reads one; give one of them")


def _open_ports(model: str) -> tuple[EvaluationPorts, Settings]:
    settings = Settings.from_env()
    address = model or settings.model or DEFAULT_MODEL
    embedder = wiring.lazy_model(address, settings, existing=None, batches=1)
    load = Load(batches=1, is_trained=address != DEFAULT_MODEL)
    ports = EvaluationPorts(
        store=wiring.open_store(settings),
        embedder=embedder,
        concurrency=wiring.concurrency_of(settings, load),
    )
    return ports, settings


def _cosine_of(threshold: float, calibration: Calibration | None) -> float:
    """Above 1 it is a similarity. 1 is a cosine, and a similarity of 1 is of no use as a threshold."""
    if threshold <= 1:
        if threshold < -1:
            raise ArgumentError(f"--at {threshold:g} is neither a cosine (-1 to 1) nor a similarity (to 100)")
        return threshold
    if calibration is None:
        raise ArgumentError(
            f"--at {threshold:g} is a similarity, and only a calibration says which cosine that is; give "
            "--calibration FILE, which `pictor evaluate SOURCE --calibrate FILE` makes, or a cosine from -1 "
            "to 1"
        )
    return calibration.cosine_of(threshold)


def _similarity_of(calibration: Calibration | None) -> Similarity:
    return calibration.similarity_of if calibration else no_similarity


def _read_calibration(file: Path | None, spec: ModelSpec) -> Calibration | None:
    if file is None:
        return None
    try:
        if file.stat().st_size > MAX_CALIBRATION_BYTES:
            raise ArgumentError(f"--calibration {file}: it is over {MAX_CALIBRATION_BYTES} bytes")
        text = file.read_text(encoding="utf-8")
    except OSError as err:
        raise ArgumentError(f"--calibration {file}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ArgumentError(f"--calibration {file}: this is not UTF-8") from err
    calibration = read_calibration(text, of=f"--calibration {file}")
    calibration.check_model(spec.name, spec.fingerprint)
    return calibration


def _write_sections(sections: Iterable[Section]) -> None:
    for section in sections:
        write_line(f"\n{visible(section.title)}")
        for sentence in section.words:
            write_line(visible(sentence))
        for table in section.tables:
            write_table(table.columns, table.rows)


def _write_calibration(
    path: Path, images: EmbeddedImages, comparisons: Comparisons, model: ModelName, wanted: EvaluateOptions
) -> Calibration:
    calibration = fit_calibration(
        images.labelled,
        comparisons,
        model=model,
        description=wanted.description or images.source.name,
        made_at=_now(),
        seed=wanted.seed,
    )
    file = path / f"{model.fingerprint[:8]}.calibration.json" if path.is_dir() else path
    _write(
        file, json.dumps(calibration_json(calibration), ensure_ascii=False, indent=1) + "\n", "--calibrate"
    )
    note(f"Calibration {calibration.version} is in {file}.")
    return calibration


def _write(path: Path, text: str, option: str) -> None:
    try:
        is_new = not path.exists()
        path.write_text(text, encoding="utf-8")
        if is_new:
            share(path)
    except OSError as err:
        raise ArgumentError(f"{option} {path}: {err.strerror}") from err


def _say_failures(images: EmbeddedImages) -> None:
    if not images.failed:
        return
    warn(f"{len(images.failed)} of {len(images.source.images)} images of {images.source.name} gave no vector")
    for failed in images.failed[:FIRST_FAILURES]:
        note(f"  {failed.image.key}: {failed.reason}, {failed.detail}")
    if len(images.failed) > FIRST_FAILURES:
        note(f"  and {len(images.failed) - FIRST_FAILURES} more")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
