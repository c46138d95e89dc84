"""/docs: every path of the service, from the same document as /openapi.json. It needs no network."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pipeline.api.pages.rendering import render

router = APIRouter()

METHODS = ("get", "post", "put", "patch", "delete")


@router.get("/docs")
def reference(request: Request) -> HTMLResponse:
    """Each operation, with its parameters, its body and its answers."""
    document = request.app.openapi()
    return render(
        request,
        "reference.html",
        info=document["info"],
        operations=list(_operations(document)),
        schemas=document["components"]["schemas"],
    )


def _operations(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                body = operation.get("requestBody", {}).get("content", {})
                answers = {
                    status: (answer.get("description", ""), _schema(answer.get("content", {})))
                    for status, answer in operation["responses"].items()
                }
                yield {
                    "method": method.upper(),
                    "path": path,
                    "summary": operation.get("description") or operation.get("summary", ""),
                    "parameters": operation.get("parameters", []),
                    "body": _schema(body),
                    "body_type": next(iter(body), ""),
                    "answers": answers,
                }


def _schema(content: Mapping[str, Any]) -> str:
    """The name of the schema, or nothing."""
    for media in content.values():
        reference_ = str(media.get("schema", {}).get("$ref", ""))
        return reference_.rpartition("/")[2]
    return ""
