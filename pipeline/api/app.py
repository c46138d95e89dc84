"""The application: routes, and the checks that every request passes before them."""

from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig

from pipeline.api.aws.errors import answer_aws_errors
from pipeline.api.aws.middleware import AwsRequests, SignedRequests
from pipeline.api.backend import Backend
from pipeline.api.bodies import Problem, ProblemAnswers
from pipeline.api.condition_schema import CONDITION_SCHEMA, REFERENCE
from pipeline.api.cursors import Cursors
from pipeline.api.middleware.bounds import BoundedBodies, BoundedRequests
from pipeline.api.middleware.callers import Door, KnownCallers, OpenDoor
from pipeline.api.middleware.keyed import KeyedRequests
from pipeline.api.middleware.measured import MeasuredRequests
from pipeline.api.middleware.names import NamedRequests
from pipeline.api.middleware.origins import OwnOrigins
from pipeline.api.middleware.rates import BoundedRates
from pipeline.api.middleware.shares import FairShares
from pipeline.api.middleware.timely import AT_ONCE_PER_CORE, TimelySearches
from pipeline.api.pages import (
    audit_pages,
    faces_page,
    jobs_page,
    reference,
    search_page,
    sign_in,
    verify_page,
)
from pipeline.api.pages import problems as problem_pages
from pipeline.api.problems import MEDIA_TYPE, answer_errors_as_problems
from pipeline.api.rekognition import routes as rekognition
from pipeline.api.rekognition.names import in_ids
from pipeline.api.routes import (
    audit,
    collections,
    duplicates,
    embeddings,
    faces,
    health,
    images,
    jobs,
    keys,
    log_entries,
    persons,
    policies,
    search,
    verifications,
)
from pipeline.cgroup import read_share
from pipeline.service.keyring import Keyring
from pipeline.tracing import provider_in_use

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
MAX_BODY_BYTES = 16 * 2**20  # of a picture that comes with a search; larger ones are named in the store
MAX_REQUESTS = 32  # times the body: half a GiB
MAX_STREAMS = 64
REFUSAL_S = 0.5  # as long as half of Retry-After

DESCRIPTION = """
Find images by example, and bring collections in step with a folder or bucket.

Errors are documents of RFC 9457. Their `type` is a page of this service that says what to do.
"""


def make_app(
    backend: Backend,
    *,
    hosts: Collection[str] = LOOPBACK_NAMES,
    door: Door | None = None,
    cursor_key: str = "",
    per_minute: int = 0,
    aws_key: str = "",
) -> FastAPI:
    """The application over one backend.

    Args:
        hosts: the names that the service goes by. A request for another one is refused. "*" is any.
        door: tells who asks. By default whoever reaches the service may do everything.
        cursor_key: see `Cursors`.
        per_minute: see `BoundedRates`.
        aws_key: the master key of AWS clients, see `service.aws_pairs`. Without one they find nothing here.
    """
    door = door or OpenDoor()
    app = _Service(
        title="Pictor",
        version=version("pictor"),
        description=DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere; `reference` is ours
        redoc_url=None,
        openapi_url="/openapi.json",
        separate_input_output_schemas=False,
        telemetry=_telemetry(),
    )
    app.state.backend = backend
    app.state.cursors = Cursors(cursor_key)
    app.state.door = door
    answer_errors_as_problems(app)
    answer_aws_errors(app)
    # FastAPI asks one after the other for each request, so that searches come first. A router of routers is
    # asked twice.
    for room in (
        search,
        policies,
        collections,
        duplicates,
        jobs,
        images,
        faces,
        embeddings,
        keys,
        persons,
        audit,
        log_entries,
        verifications,
    ):
        app.include_router(room.router, responses=_problem_answers())
    app.include_router(health.router)
    app.include_router(rekognition.router)
    for page in (
        search_page,
        faces_page,
        jobs_page,
        verify_page,
        audit_pages,
        sign_in,
        reference,
        problem_pages,
    ):
        app.include_router(page.router, include_in_schema=False)
    static = StaticFiles(directory=Path(__file__).parent / "pages" / "static")
    app.mount("/static", static, name="static")
    # The last one added is the first that a request passes.
    app.add_middleware(KeyedRequests)
    app.add_middleware(TimelySearches, at_once=AT_ONCE_PER_CORE * read_share().cores)
    app.add_middleware(BoundedBodies, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(BoundedRates, per_minute=per_minute)
    app.add_middleware(FairShares, most=MAX_REQUESTS, streams=MAX_STREAMS)
    app.add_middleware(KnownCallers, door=door)
    if aws_key:
        keyring = door.keyring or Keyring(backend.keys)
        app.add_middleware(SignedRequests, keyring=keyring, master=aws_key, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(BoundedRequests, most=MAX_REQUESTS, streams=MAX_STREAMS, pause_s=REFUSAL_S)
    app.add_middleware(OwnOrigins, hosts=hosts)
    app.add_middleware(NamedRequests)
    if aws_key:
        app.add_middleware(AwsRequests, reword=in_ids)
    app.add_middleware(MeasuredRequests)
    return app


def _telemetry() -> TelemetryConfig:
    """A span for each request of the API while `pipeline.tracing` is on; never what FastAPI does by itself.

    It would log errors with the words of requests, and set itself up by the environment.
    """
    provider = provider_in_use()
    return {
        "tracing": provider is not None,
        "tracer_provider": provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": lambda scope: not scope["path"].startswith("/v1/"),
    }


def _problem_answers() -> ProblemAnswers:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": words, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status, words in {
            "4XX": "The request was refused. Nothing was done",
            "5XX": "The service could not do it",
        }.items()
    }


class _Service(FastAPI):
    def openapi(self) -> dict[str, Any]:
        document = super().openapi()  # made once, and kept
        schemas = document["components"]["schemas"]
        schemas.setdefault("Problem", Problem.model_json_schema())
        schemas.setdefault("Condition", CONDITION_SCHEMA)
        schemas["Filter"]["properties"]["where"] |= REFERENCE
        document["components"]["securitySchemes"] = {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "A key that an administrator made",
            }
        }
        document["security"] = [{"key": []}, {}]  # a service on its own machine may run without keys
        return document
