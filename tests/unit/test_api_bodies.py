"""A request body that is wrong in every place costs about as much as one that is wrong in one."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

import pipeline.api
from pipeline.api.bodies import Strict
from pipeline.api.search_bodies import SearchBody

MANY = 50_000
FEW = 200  # of each list. A list of a hundred objects may then have some thousand


def bodies(kind: type[Strict] = Strict) -> Iterator[type[Strict]]:
    for name in (module.name for module in pkgutil.iter_modules(pipeline.api.__path__)):
        if name.endswith("bodies"):
            importlib.import_module(f"pipeline.api.{name}")
    for below in kind.__subclasses__():
        yield below
        yield from bodies(below)


LISTS = [
    (body, field.alias or name)
    for body in sorted({*bodies()}, key=lambda body: body.__qualname__)  # all processes agree on the order
    for name, field in body.model_fields.items()
    if "list[" in str(field.annotation).lower()
]


def test_there_are_lists_to_try() -> None:
    assert {("QueryBody", "vector"), ("SearchBatchBody", "queries"), ("NewKey", "roles")} <= {
        (body.__name__, name) for body, name in LISTS
    }


@pytest.mark.parametrize(("body", "name"), LISTS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("element", [None, {}, []], ids=str)
def test_a_list_of_wrong_elements_is_a_few_faults(body: type[Strict], name: str, element: object) -> None:
    with pytest.raises(ValidationError) as caught:
        body.model_validate({name: [element] * MANY})
    of_list = [fault for fault in caught.value.errors() if fault["loc"][0] == name]
    assert 0 < len(of_list) <= FEW


def test_a_default_that_is_a_body_is_never_copied() -> None:
    """pydantic copies one that could change, for each request: half of the time of a search's body."""
    copied = [
        f"{body.__name__}.{name}"
        for body in {*bodies()}
        for name, field in body.model_fields.items()
        if isinstance(field.default, Strict) and not field.default.model_config.get("frozen")
    ]
    assert copied == []


def test_two_searches_without_a_filter_do_not_share_one() -> None:
    first, second = (SearchBody.model_validate_json('{"query": {"id": ""}}') for _ in range(2))
    assert first.filter == second.filter
    assert first.filter.metadata is not second.filter.metadata
