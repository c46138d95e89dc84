"""Error rates as sections of words and tables, whoever shows them: a terminal, a card or a page."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.evaluation.error_rates import (
    ErrorRates,
    ErrorsAt,
    Rate,
    SearchErrorsAt,
    TrueAcceptance,
)
from pipeline.evaluation.impostor_search import FoundAt, ImpostorSearch

SHOWN_RANKS = 2  # of the ranks that are measured; JSON has all
FIRST_FOUND = 10  # false positives that are named; JSON has more
VERIFICATION = "1:1 comparisons"  # the section that a page puts plots into


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()


def sections_of(rates: ErrorRates) -> Iterator[Section]:
    yield Section(title=f"Error rates of {rates.model.name}", tables=[_facts(rates)])
    yield _data(rates)
    yield _verification(rates)
    yield _identification(rates)
    yield from _subgroups(rates)
    if rates.retrieval is not None:
        found = rates.retrieval
        measures = (
            ("queries", found.queries),
            ("recall@1", f"{found.recall_at_1:.3f}"),
            ("recall@5", f"{found.recall_at_5:.3f}"),
            ("mAP", f"{found.mean_average_precision:.3f}"),
            ("uAP", f"{found.micro_average_precision:.3f}"),
        )
        yield Section(title="Retrieval", tables=[Table(columns=("measure", "value"), rows=measures)])
    if rates.floor is not None:
        floor = rates.floor
        words = f"{floor.floor:.4f} ({floor.low:.4f} to {floor.high:.4f}). {floor.words}"
        yield Section(title="Suggested floor", words=[words])
    yield Section(title="Limits", words=rates.limits)


def sections_of_search(search: ImpostorSearch) -> Iterator[Section]:
    facts = (
        ("model", f"{search.model.name} ({search.model.fingerprint[:8]})"),
        ("calibration", search.calibration or "none"),
        ("searched for", f"{search.probe_persons} persons, {search.probe_images} images of {search.probes}"),
        ("searched in", f"{search.gallery_images} images of {search.gallery}"),
        ("images without a vector", f"{search.failed_probes} and {search.failed_gallery}"),
        ("names in both", f"{len(search.in_both)}, whose own images are no false positives"),
    )
    yield Section(title="Search for persons who are not there", tables=[Table(columns=("", ""), rows=facts)])
    yield Section(title="Falsely found", tables=[_found_table(search.found)])
    groups = [
        (group.column, _value(group.value), f"{at.threshold:.4f}", rate_text(group.persons))
        for at in search.found
        for group in at.subgroups
    ]
    if groups:
        columns = ("column", "value", "threshold", "persons falsely found")
        yield Section(title="By subgroup", tables=[Table(columns=columns, rows=groups)])
    lowest = min(search.found, key=lambda at: at.threshold)
    named = [
        (each.probe, each.candidate, f"{each.cosine:.4f}", similarity_text(each.similarity))
        for each in lowest.highest[:FIRST_FOUND]
    ]
    if named:
        columns = ("probe", "candidate", "cosine", "similarity")
        yield Section(title="The highest of them", tables=[Table(columns=columns, rows=named)])


def rate_text(rate: Rate) -> str:
    """`0.0025 (0.0004 to 0.0061), 3 of 1200`."""
    if rate.estimate is None:
        return "not measured"
    return (
        f"{share_text(rate.estimate)} ({share_text(rate.low)} to {share_text(rate.high)}), "
        f"{rate.errors} of {rate.trials}"
    )


def share_text(share: float | None) -> str:
    """Two digits that count, whatever the size."""
    if share is None:
        return "not measured"
    return f"{share:.4f}" if share >= 0.1 or share == 0 else f"{share:.2g}"


def similarity_text(similarity: float | None) -> str:
    return "" if similarity is None else f"{similarity:.1f}"


def _facts(rates: ErrorRates) -> Table:
    return Table(
        columns=("", ""),
        rows=(
            ("model", rates.model.address),
            ("architecture", rates.model.architecture),
            ("fingerprint", rates.model.fingerprint),
            ("measured", f"{rates.made_at}, Pictor {rates.pictor}"),
            ("images of", rates.data.source),
            ("description", rates.data.description or "none was given"),
            ("calibration", rates.calibration or "none"),
        ),
    )


def _data(rates: ErrorRates) -> Section:
    data, method = rates.data, rates.method
    counts = (
        ("persons", data.persons),
        ("images with a label", data.images),
        ("failure to acquire, of images", rate_text(data.failure_to_acquire)),
        *((f"of these {each.reason}", each.images) for each in data.failures),
        ("failure to enrol, of persons", rate_text(data.failure_to_enrol)),
        ("images without a label, not read", data.unlabelled),
        ("images with several views, of which one was taken", data.several_views),
    )
    words = (
        f"Each interval holds the true rate in {method.confidence:.0%} of measurements. Where comparisons "
        f"share persons, it comes from {method.replicates} resamples of persons (seed {method.seed}). "
        f"In searches, images without a vector are {method.failed_images}."
    )
    return Section(title="Data", words=[words], tables=[Table(columns=("", "count"), rows=counts)])


def _verification(rates: ErrorRates) -> Section:
    found = rates.verification
    words = (
        f"{found.genuine} genuine and {found.impostor} impostor comparisons. Equal error rate: "
        f"{share_text(found.equal_error_rate)}."
    )
    by_far = Table(
        columns=("FAR", "TAR", "threshold", "FNMR", "FMR"),
        rows=[_far_row(each) for each in found.tar_at_far],
    )
    return Section(title=VERIFICATION, words=[words], tables=[by_far, _error_table(found.thresholds)])


def _identification(rates: ErrorRates) -> Section:
    found = rates.identification
    words = (
        f"{found.gallery_persons} persons in the gallery with one image each, {found.mated_searches} "
        f"searches for them, {found.nonmated_searches} searches for others."
    )
    return Section(title="1:N searches, open set", words=[words], tables=[_search_table(found.thresholds)])


def _subgroups(rates: ErrorRates) -> Iterator[Section]:
    for group in rates.subgroups:
        words = (
            f"{group.persons} persons, {group.images} images. Failure to acquire: "
            f"{rate_text(group.failure_to_acquire)}."
        )
        yield Section(
            title=f"{group.column}: {_value(group.value)}",
            words=[words],
            tables=[_error_table(group.verification), _search_table(group.identification)],
        )


def _error_table(thresholds: Iterable[ErrorsAt]) -> Table:
    return Table(
        columns=("threshold", "similarity", "FMR", "FNMR"),
        rows=[
            (
                f"{errors.threshold:.4f}",
                similarity_text(errors.similarity),
                rate_text(errors.fmr),
                rate_text(errors.fnmr),
            )
            for errors in thresholds
        ],
    )


def _search_table(thresholds: Sequence[SearchErrorsAt]) -> Table:
    ranks = [miss.rank for miss in thresholds[0].fnir[:SHOWN_RANKS]]
    return Table(
        columns=("threshold", "similarity", "FPIR", *(f"FNIR rank {rank}" for rank in ranks)),
        rows=[
            (
                "none" if errors.threshold is None else f"{errors.threshold:.4f}",
                similarity_text(errors.similarity),
                "" if errors.fpir is None else rate_text(errors.fpir),
                *(rate_text(miss.fnir) for miss in errors.fnir[:SHOWN_RANKS]),
            )
            for errors in thresholds
        ],
    )


def _found_table(found: Sequence[FoundAt]) -> Table:
    return Table(
        columns=("threshold", "similarity", "persons falsely found", "images", "candidates"),
        rows=[
            (
                f"{at.threshold:.4f}",
                similarity_text(at.similarity),
                rate_text(at.persons),
                at.probes,
                at.candidates,
            )
            for at in found
        ],
    )


def _far_row(each: TrueAcceptance) -> Sequence[str]:
    far = f"1e-{round(-math.log10(each.far))}"
    if each.at is None:
        return far, f"not measured: {each.needed_comparisons} impostor comparisons are needed", "", "", ""
    at = each.at
    return far, share_text(each.tar), f"{at.threshold:.4f}", rate_text(at.fnmr), rate_text(at.fmr)


def _value(text: str) -> str:
    return text or "(empty)"
