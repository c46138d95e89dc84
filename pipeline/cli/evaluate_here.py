"""Read labelled images, embed them in this process, and say how often the model was wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from pipeline import wiring
from pipeline.cli.evaluate_card import card_of
from pipeline.cli.evaluate_files import keep_calibration, open_calibration, write_result
from pipeline.cli.evaluate_options import EvaluateOptions, cosines_of
from pipeline.cli.evaluate_page import page_of
from pipeline.cli.evaluate_sections import Section, sections_of
from pipeline.cli.output import note, warn, write_json, write_line, write_table
from pipeline.cli.progress import CountProgress
from pipeline.errors import ArgumentError
from pipeline.evaluation.calibration import Calibration
from pipeline.evaluation.comparisons import Comparisons, compare_all
from pipeline.evaluation.error_rates import ErrorRates, ModelName, error_rates_json
from pipeline.evaluation.fit_calibration import fit_calibration
from pipeline.evaluation.measure import Failed, Setup, measure_all
from pipeline.evaluation.verification import Similarity, no_similarity
from pipeline.names import visible
from pipeline.ports import ImageLimits
from pipeline.ports.model_binding import DEFAULT_MODEL
from pipeline.service.embed_labelled import EmbeddedImages, EvaluationPorts, embed_labelled
from pipeline.service.labelled_images import LabelledSource, read_source
from pipeline.settings import Settings
from pipeline.types import ModelSpec

FIRST_FAILURES = 5  # that are named


def evaluate_here(wanted: EvaluateOptions) -> None:
    """Raises ArgumentError: the options do not go together, or a file cannot be read or written."""
    _check(wanted)
    opened = open_model(wanted.model)
    given = open_calibration(wanted.calibration, opened.spec)
    if not wanted.calibrate:
        cosines_of(wanted.at, given)  # a fault in them is told before the images are read
    images = opened.embed(read_source(wanted.source, opened.ports.store, wanted.columns))
    comparisons = compare_all(images.labelled)
    if wanted.calibrate:
        given = _calibrate(images, comparisons, opened.name, wanted)
        keep_calibration(given, wanted.calibrate)
    setup = _setup_of(wanted, images, opened.name, given)
    _show(measure_all(images.labelled, comparisons, _failed(images), setup), wanted)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenModel:
    """A model, and what it takes to embed images with it."""

    ports: EvaluationPorts
    limits: ImageLimits

    @property
    def spec(self) -> ModelSpec:
        return self.ports.embedder.spec

    @property
    def name(self) -> ModelName:
        return ModelName(
            name=self.spec.name,
            address=self.spec.address,
            architecture=self.spec.architecture,
            fingerprint=self.spec.fingerprint,
        )

    def embed(self, source: LabelledSource) -> EmbeddedImages:
        """Says on standard error how far it is, and which images gave no vector."""
        with CountProgress(f"embedding {source.name} with {self.spec.name}", len(source.images)) as progress:
            images = embed_labelled(source, self.ports, self.limits, tell=progress.show)
        if images.failed:
            warn(f"{len(images.failed)} of {len(source.images)} images of {source.name} gave no vector")
        for failed in images.failed[:FIRST_FAILURES]:
            note(f"  {visible(failed.image.key)}: {failed.reason}, {failed.detail}")
        if len(images.failed) > FIRST_FAILURES:
            note(f"  and {len(images.failed) - FIRST_FAILURES} more")
        return images


def open_model(model: str) -> OpenModel:
    settings = Settings.from_env()
    address = model or settings.model or DEFAULT_MODEL
    embedder = wiring.lazy_model(address, settings, existing=None, batches=1)
    ports = EvaluationPorts(
        store=wiring.open_store(settings),
        embedder=embedder,
        concurrency=wiring.concurrency_of(settings, wiring.load_of_model(embedder.spec)),
        finder=wiring.finder_of(embedder.spec, settings),
    )
    return OpenModel(ports=ports, limits=wiring.limits_of(settings))


def similarity_of(calibration: Calibration | None) -> Similarity:
    return calibration.similarity_of if calibration else no_similarity


def write_sections(sections: Iterable[Section]) -> None:
    for section in sections:
        write_line(f"\n{visible(section.title)}")
        for sentence in section.words:
            write_line(visible(sentence))
        for table in section.tables:
            write_table(table.columns, table.rows)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _check(wanted: EvaluateOptions) -> None:
    if not wanted.source:
        raise ArgumentError("give SOURCE, or --probes and --gallery")
    if (wanted.fpir is None) != (wanted.gallery_size is None):
        raise ArgumentError("--fpir and --gallery-size go together: a floor depends on the size of a gallery")
    if wanted.calibrate and wanted.calibration:
        raise ArgumentError("--calibrate makes a calibration and --calibration reads one; give one of them")


def _calibrate(
    images: EmbeddedImages, comparisons: Comparisons, model: ModelName, wanted: EvaluateOptions
) -> Calibration:
    return fit_calibration(
        images.labelled,
        comparisons,
        model=model,
        description=wanted.description or images.source.name,
        made_at=now(),
        seed=wanted.seed,
    )


def _failed(images: EmbeddedImages) -> list[Failed]:
    return [
        Failed(person=failed.image.person, reason=failed.reason, subgroups=failed.image.subgroups)
        for failed in images.failed
    ]


def _setup_of(
    wanted: EvaluateOptions, images: EmbeddedImages, model: ModelName, given: Calibration | None
) -> Setup:
    return Setup(
        model=model,
        pictor=version("pictor"),
        made_at=now(),
        source=images.source.name,
        description=wanted.description,
        unlabelled=images.source.unlabelled,
        several_views=images.several_views,
        at=cosines_of(wanted.at, given),
        seed=wanted.seed,
        not_enrolled_share=wanted.not_enrolled,
        ignore_failed=wanted.ignore_failed,
        fpir=wanted.fpir,
        gallery_size=wanted.gallery_size or 0,
        calibration=given.version if given else "",
        similarity=similarity_of(given),
    )


def _show(rates: ErrorRates, wanted: EvaluateOptions) -> None:
    if wanted.html:
        write_result(wanted.html, page_of(rates), option="--html")
    if wanted.card:
        write_result(wanted.card, card_of(rates), option="--card")
    if wanted.as_json:
        write_json(error_rates_json(rates))
    else:
        write_sections(sections_of(rates))
    if wanted.fpir is not None and rates.floor is None:
        warn("no floor can be suggested: there are too few comparisons of different persons")
