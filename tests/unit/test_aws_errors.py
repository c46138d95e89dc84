"""Each operation answers with errors that the API's model has for it."""

import pytest

from pipeline.api.aws.errors import aws_name, modelled
from pipeline.api.problems import KINDS
from tests.unit.aws_client import SESSION
from tests.unit.aws_endpoint import EXAMPLES

MODEL = SESSION.get_service_model("rekognition")
OF_EVERY_SERVICE = "UnrecognizedClientException"  # who asks is not known


@pytest.mark.parametrize("operation", EXAMPLES)
def test_every_problem_becomes_an_error_of_the_operation(operation: str) -> None:
    errors = {shape.name for shape in MODEL.operation_model(operation).error_shapes}
    found = {modelled(aws_name(code), operation) for code in KINDS}
    assert found <= errors | {OF_EVERY_SERVICE}
    assert modelled("AccessDeniedException", operation) == "AccessDeniedException"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("IndexFaces", "ImageTooLargeException"), ("ListFaces", "InvalidParameterException")],
)
def test_a_picture_is_too_large_only_where_there_is_one(operation: str, expected: str) -> None:
    assert modelled(aws_name("body_too_large"), operation) == expected
