"""The document of measured error rates: written, read back, and refused when it is none."""

import json
from typing import Any

import pytest

from pipeline.errors import ArgumentError
from pipeline.evaluation.comparisons import compare_all
from pipeline.evaluation.error_rates import (
    DataCounts,
    ErrorRates,
    FailureCount,
    Method,
    ModelName,
    error_rates_json,
    read_error_rates,
)
from pipeline.evaluation.floor import suggest_floor
from pipeline.evaluation.identification import enrol, measure_identification, search_all
from pipeline.evaluation.rates import independent_rate
from pipeline.evaluation.retrieval import measure_retrieval
from pipeline.evaluation.verification import measure_verification
from tests.conftest import REPOSITORY
from tests.unit.evaluation_worlds import crowd


@pytest.fixture(scope="module")
def rates() -> ErrorRates:
    labelled = crowd(1, persons=25)
    compared = compare_all(labelled)
    searches = search_all(labelled, enrol(labelled, not_enrolled_share=0.3, seed=0))
    return ErrorRates(
        made_at="2026-11-27T12:00:00Z",
        pictor="0.1.0",
        model=ModelName(name="m", address="m.toml", architecture="a", fingerprint="f0" * 32),
        calibration="",
        data=DataCounts(
            source="faces",
            description="",
            persons=25,
            persons_not_enrolled=0,
            images=76,
            failed=1,
            failures=[FailureCount(reason="empty", images=1)],
            failure_to_acquire=independent_rate(1, 76),
            failure_to_enrol=independent_rate(0, 25),
            unlabelled=0,
            several_views=0,
        ),
        method=Method(
            seed=0,
            not_enrolled_share=0.3,
            confidence=0.95,
            replicates=1000,
            resolution=1e-4,
            failed_images="counted as misses",
        ),
        verification=measure_verification(labelled, compared, at=[0.5]),
        identification=measure_identification(labelled, searches, [0.5], failed_mated={}),
        retrieval=measure_retrieval(labelled, compared),
        floor=suggest_floor(labelled, compared, fpir=0.01, gallery_size=1000),
        limits=["few"],
    )


def written(rates: ErrorRates) -> dict[str, Any]:
    return dict(json.loads(json.dumps(error_rates_json(rates), allow_nan=False)))


def test_what_is_written_is_read_back(rates: ErrorRates) -> None:
    assert read_error_rates(json.dumps(error_rates_json(rates)), of="r.json") == rates


def test_a_field_of_a_later_version_is_left_out(rates: ErrorRates) -> None:
    assert read_error_rates(json.dumps(written(rates) | {"later": [1]}), of="r.json") == rates


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "pictor.error_rates/2"}, "r.json: the format is 'pictor.error_rates/2'"),
        ({"model": {"name": "m", "address": "m", "architecture": "a", "fingerprint": "F0"}}, "fingerprint"),
        ({"limits": "none"}, "r.json: limits: "),
        ({"verification": None}, "r.json: verification: "),
    ],
)
def test_a_document_that_is_none_is_refused_with_the_place(
    rates: ErrorRates, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        read_error_rates(json.dumps(written(rates) | change), of="r.json")


@pytest.mark.parametrize(
    ("field", "value"), [("estimate", 1.5), ("errors", -1), ("low", "a"), ("method", None)]
)
def test_a_rate_that_is_none_is_refused(rates: ErrorRates, field: str, value: object) -> None:
    document = written(rates)
    document["verification"]["thresholds"][0]["fmr"][field] = value
    with pytest.raises(ArgumentError, match=rf"r.json: verification.thresholds.0.fmr.{field}: "):
        read_error_rates(json.dumps(document), of="r.json")


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", "{", '{"a": NaN}', "[" * 100_000])
def test_a_text_that_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"r\.json: "):
        read_error_rates(text, of="r.json")


def test_the_page_names_every_field_at_the_top(rates: ErrorRates) -> None:
    page = (REPOSITORY / "docs" / "reference" / "error-rates.md").read_text(encoding="utf-8")
    for name, value in written(rates).items():
        assert f"`{name}`" in page
        for inner in value if isinstance(value, dict) else ():
            assert f"`{inner}`" in page
