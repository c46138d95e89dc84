"""The HTTP contract, as programs read it. Adding is fine, changing is not.

When a change is meant, write the file anew with `python -m tests.golden.test_http_api`.
"""

import json
from pathlib import Path
from typing import Any, cast

from pipeline.api.app import make_app
from pipeline.api.backend import Backend
from pipeline.api.problems import KINDS

GOLDEN = Path(__file__).parent / "openapi.json"

PROBLEMS = {
    "invalid_request": 422,
    "no_such_page": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "body_too_slow": 408,
    "too_busy": 429,
    "rate_limited": 429,
    "key_reused": 422,
    "in_flight": 409,
    "cross_site": 403,
    "unknown_host": 421,
    "internal_error": 500,
    "misconfigured": 500,
    "invalid_argument": 400,
    "model_unusable": 422,
    "target_unusable": 422,
    "model_mismatch": 409,
    "not_found": 404,
    "conflict": 409,
    "limit_reached": 409,
    "denied": 403,
    "refused_by_policy": 403,
    "unauthenticated": 401,
    "image_rejected": 422,
    "unavailable": 503,
    "audit_unavailable": 503,
    "bad_message": 400,
    "process_unfit": 503,
    "credentials_refused": 503,
}


def document() -> dict[str, Any]:
    # No route is asked, so nothing stands behind it.
    return make_app(cast("Backend", None)).openapi()


def test_the_document_is_the_golden_one() -> None:
    assert document() == json.loads(GOLDEN.read_text())


def test_each_error_keeps_its_code_and_status() -> None:
    assert {code: kind.status for code, kind in KINDS.items()} == PROBLEMS


def test_every_operation_says_what_it_does() -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            assert operation.get("description"), f"{method} {path}"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(document(), indent=1) + "\n")
