"""What a search over HTTP does not pay for: one thread works on it, and the event loop is no other."""

import inspect
import typing
from collections.abc import Iterator

import pytest
from fastapi import Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from pipeline.api.routes.search import router

ROUTES = [route for route in router.routes if isinstance(route, APIRoute)]


def below(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from below(each)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_what_a_search_needs_is_found_without_another_thread(route: APIRoute) -> None:
    needed = [each.call for each in below(route.dependant)]
    assert needed
    assert [call for call in needed if not inspect.iscoroutinefunction(call)] == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_the_thread_of_a_search_writes_its_answer(route: APIRoute) -> None:
    """FastAPI would check any other answer in a second thread."""
    assert typing.get_type_hints(route.endpoint)["return"] is Response
