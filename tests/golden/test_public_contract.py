"""What scripts and services rely on: field names, codes, exit codes. Adding is fine, changing is not."""

from dataclasses import fields, replace
from datetime import UTC, datetime

from PIL import Image

from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED, EXIT_USAGE
from pipeline.decode import decode_image
from pipeline.errors import ErrorCode, NotFoundError
from pipeline.ports import Limits
from pipeline.selection import Selection
from pipeline.service.answers import (
    answer_json,
    collection_json,
    error_json,
    failure_json,
    hit_json,
    job_json,
    model_json,
)
from pipeline.service.search import SearchAnswer
from pipeline.types import (
    AuditReceipt,
    CollectionInfo,
    FailedAt,
    Failure,
    Int8Recall,
    Job,
    JobCounts,
    JobRequest,
    JobState,
    ModelSpec,
    ObjectRef,
    Preprocessing,
    Reason,
    SearchHit,
    Verdict,
)
from tests.image_files import encode

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)

HIT = SearchHit(
    id="0" * 32,
    bucket="shop",
    key="cam1/a.jpg",
    etag="e1",
    score=0.123456789,
    width=640,
    height=480,
    size_bytes=91234,
    indexed_at=NOON,
    metadata={"camera": "7"},
)
HIT_JSON = {
    "id": "0" * 32,
    "bucket": "shop",
    "key": "cam1/a.jpg",
    "score": 0.123457,
    "width": 640,
    "height": 480,
    "size_bytes": 91234,
    "etag": "e1",
    "indexed_at": "2026-01-02T12:00:00+00:00",
    "metadata": {"camera": "7"},
}
JOB = Job(
    job_id="20260102T120000-a1b2c3",
    request=JobRequest(
        location="s3://shop/cam1",
        bucket="shop",
        prefix="cam1",
        collection="images",
        model_name="builtin",
        fingerprint="f0" * 32,
    ),
    driver="workers",
    state=JobState.COMPLETED,
    planned=True,
    cursor="cam1/z.jpg",
    planned_batches=3,
    counts=JobCounts(
        scanned=10,
        indexed=5,
        unchanged=2,
        failed=3,
        pending=0,
        ignored=4,
        removed=6,
        faces_found=7,
        without_faces=1,
    ),
    error="",
    created_at=NOON,
    finished_at=None,
)


def test_a_hit_has_these_fields() -> None:
    assert hit_json(HIT) == HIT_JSON


def test_an_answer_has_these_fields_and_an_error_only_when_there_is_one() -> None:
    receipt = AuditReceipt(record_id="r1", index=7, commitment=b"c" * 32, proof="a proof")
    assert answer_json(SearchAnswer(query="q.jpg", hits=(HIT,), receipt=receipt, to_verify=2)) == {
        "query": "q.jpg",
        "hits": [HIT_JSON],
        "receipt": "r1",
        "inclusion": {
            "index": 7,
            "commitment": "Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M=",
            "proof": "a proof",
        },
        "to_verify": 2,
    }
    assert answer_json(SearchAnswer(query="q.jpg", error="not_found: gone", code="not_found")) == {
        "query": "q.jpg",
        "hits": [],
        "recording": "off",
        "error": "not_found: gone",
        "code": "not_found",
    }


def test_a_job_has_these_fields() -> None:
    assert job_json(JOB) == {
        "job_id": "20260102T120000-a1b2c3",
        "state": "completed",
        "driver": "workers",
        "source": "s3://shop/cam1",
        "collection": "images",
        "model": "builtin",
        "scanned": 10,
        "indexed": 5,
        "unchanged": 2,
        "failed": 3,
        "pending": 0,
        "ignored": 4,
        "removed": 6,
        "faces_found": 7,
        "without_faces": 1,
        "planned": True,
        "error": "",
        "created_at": "2026-01-02T12:00:00+00:00",
        "finished_at": None,
        "pruned_at": None,
    }


def test_a_failure_has_these_fields() -> None:
    failure = Failure(
        ref=ObjectRef(bucket="shop", key="cam1/a.jpg", etag="e1", size_bytes=91234),
        batch_path="00000000",
        stage=FailedAt.DECODE,
        reason=Reason.TRUNCATED,
        detail="the data ends before the picture does",
    )
    assert failure_json(failure) == {
        "key": "cam1/a.jpg",
        "stage": "decode",
        "reason": "truncated",
        "detail": "the data ends before the picture does",
        "bucket": "shop",
        "etag": "e1",
        "size_bytes": 91234,
        "id": failure.ref.image_id,
    }


def test_a_collection_has_these_fields() -> None:
    info = CollectionInfo(
        name="images",
        model_name="builtin",
        model_address="builtin",
        fingerprint="f0" * 32,
        dim=919,
        vector_type="float32",
        precision="auto",
        rows=10,
    )
    assert collection_json(info) == {
        "name": "images",
        "rows": 10,
        "model": "builtin",
        "model_source": "builtin",
        "fingerprint": "f0" * 32,
        "dim": 919,
        "vector_type": "float32",
        "precision": "auto",
    }
    in_int8 = replace(info, precision="int8", int8=Int8Recall(recall_at_10=0.98271, images=462))
    assert collection_json(in_int8) == collection_json(info) | {
        "precision": "int8",
        "int8": {"recall_at_10": 0.9827, "images": 462},
    }


def test_a_model_has_these_fields() -> None:
    spec = ModelSpec(
        name="cameras",
        address="/models/cameras.toml",
        architecture="torchvision/resnet18",
        fingerprint="f0" * 32,
        dim=512,
        preprocessing=Preprocessing(resize=256, crop=224, mean=(0.5,) * 3, std=(0.2,) * 3),
    )
    assert model_json(spec) == {
        "name": "cameras",
        "source": "/models/cameras.toml",
        "architecture": "torchvision/resnet18",
        "fingerprint": "f0" * 32,
        "dim": 512,
        "preprocessing": {
            "resize": 256,
            "crop": 224,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.2, 0.2, 0.2),
            "interpolation": "bilinear",
            "fit": "crop",
            "fill": (0, 0, 0),
            "centre": "nearest",
        },
        "capabilities": ["images"],
    }
    in_int8 = replace(spec, int8=Int8Recall(recall_at_10=0.98271, images=462))
    assert model_json(in_int8) == model_json(spec) | {"int8": {"recall_at_10": 0.9827, "images": 462}}


def test_the_reason_codes_are_these() -> None:
    assert [reason.value for reason in Reason] == [
        "not_found",
        "changed",
        "access_denied",
        "too_large",
        "empty",
        "not_an_image",
        "unsupported_format",
        "truncated",
        "too_many_pixels",
        "too_small",
        "decode_error",
        "timeout",
        "out_of_memory",
        "not_finite",
        "worker_crash",
    ]


def test_the_stages_states_and_verdicts_are_these() -> None:
    assert [stage.value for stage in FailedAt] == ["fetch", "decode", "embed", "worker"]
    assert [state.value for state in JobState] == ["running", "paused", "cancelled", "completed", "failed"]
    assert [verdict.value for verdict in Verdict] == [
        "ack",
        "retry",
        "dead_letter",
        "fail_job",
        "reroute",
        "requeue_and_stop",
    ]


def test_the_error_codes_are_these() -> None:
    assert [code.value for code in ErrorCode] == [
        "internal_error",
        "misconfigured",
        "invalid_argument",
        "model_unusable",
        "target_unusable",
        "model_mismatch",
        "not_found",
        "conflict",
        "limit_reached",
        "denied",
        "refused_by_policy",
        "unauthenticated",
        "image_rejected",
        "unavailable",
        "audit_unavailable",
        "bad_message",
        "process_unfit",
        "credentials_refused",
    ]
    assert error_json(NotFoundError("no job 'x'")) == {"error": "no job 'x'", "code": "not_found"}


def test_the_exit_codes_are_these() -> None:
    assert (EXIT_UNFINISHED, EXIT_USAGE, EXIT_INTERRUPTED) == (1, 2, 130)


def test_scripts_outside_find_the_decoder_and_the_filters_by_their_names() -> None:
    body = encode(Image.new("RGB", (8, 8), "red"), "PNG")
    assert decode_image(body, limits=Limits(), target_px=8).rgb.shape == (8, 8, 3)
    assert [field.name for field in fields(Limits)] == [
        "max_object_bytes",
        "max_px",
        "decode_budget_bytes",
        "min_side_px",
        "decode_deadline_s",
    ]
    ref = ObjectRef(bucket="b", key="a.jpg", etag="1", size_bytes=1)
    assert Selection(include=("*.jpg",), exclude=()).wants(ref)
