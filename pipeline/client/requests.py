"""What requests of several resources have in common: paths, stated reasons and pages of lists.

Names of collections and ids of jobs may be any text; they are quoted here.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from pipeline.client.calls import JSON_HEADERS, Call, Page, json_body, quoted, read_json
from pipeline.client.results import AnswerObject, read_all
from pipeline.errors import ArgumentError

A = TypeVar("A", bound=AnswerObject)

DEFAULT_COLLECTION = "images"


def collection_path(name: str) -> str:
    return f"/v1/collections/{quoted(name)}"


def job_path(job_id: str) -> str:
    return f"/v1/jobs/{quoted(job_id)}"


def stated_headers(
    purpose: str, case: str, offence: str, authorisation: str, authority: str, on_behalf_of: str
) -> dict[str, str]:
    """Why somebody searches, as headers. Raises ArgumentError for a text that no header can hold."""
    given = {
        "purpose": purpose,
        "case": case,
        "offence": offence,
        "authorisation": authorisation,
        "authority": authority,
        "on-behalf-of": on_behalf_of,
    }
    for name, text in given.items():
        if not text.isprintable():
            raise ArgumentError(f"{name}: printable characters are expected, found {text[:80]!r}")
    return {f"x-pictor-{name}": text for name, text in given.items() if text}


def page_of(
    path: str, name: str, kind: type[A], page_items: int, token: str, given: Mapping[str, str] | None = None
) -> Call[Page[A]]:
    """A page of a list whose entries stand under `name`."""
    params = {"max_results": str(page_items), **(given or {})} | ({"next_token": token} if token else {})
    return Call(method="GET", path=path, params=params, read=_page_reader(name, kind))


def sent_page_of(
    path: str, name: str, kind: type[A], page_items: int, token: str, given: Mapping[str, str]
) -> Call[Page[A]]:
    """The same where what is asked for belongs into no address: it is sent as a body."""
    fields = {**given, "max_results": page_items, "next_token": token}
    return Call(
        method="POST", path=path, headers=JSON_HEADERS, body=json_body(fields), read=_page_reader(name, kind)
    )


def _page_reader(name: str, kind: type[A]) -> Callable[[bytes], Page[A]]:
    def read(body: bytes) -> Page[A]:
        fields = read_json(body)
        return Page(items=read_all(kind, fields.get(name)), next_token=str(fields.get("next_token") or ""))

    return read
