"""The figures of `benchmarks.faces`, and the embedders that it makes."""

import os

import onnx
import pytest

from benchmarks import face_embedders
from benchmarks.face_networks import Alone
from benchmarks.faces import JobTime, speed


def test_speed_is_that_of_the_images_beyond_the_few_against_the_networks_on_all_cores() -> None:
    few = JobTime(images=100, wall_s=2.0, cpu_s=3.0)
    many = JobTime(images=500, wall_s=4.0, cpu_s=5.0)
    one = Alone(images_per_s=200, detector_cpu_s=0.001, embedder_cpu_s=0.002, faces=300)
    all_cores = Alone(images_per_s=250, detector_cpu_s=0.001, embedder_cpu_s=0.003, faces=300)
    figures = speed(few, many, one, all_cores, pictures=100)
    assert figures["images/s of the job"] == 125
    assert figures["images/s of further images"] == 200
    assert figures["faces/s of further images"] == 600
    assert figures["computed limit, images/s"] == 250
    assert figures["one process alone × cores, images/s"] == 200 * (os.cpu_count() or 1)
    assert figures["images/s of the job ÷ computed limit"] == 0.5
    assert figures["images/s of further images ÷ computed limit"] == 0.8
    assert figures["CPU of a further image, ms"] == 5
    assert figures["CPU of both networks ÷ CPU of a further image"] == 0.8


@pytest.mark.parametrize(("name", "layers"), [("iresnet18", 18), ("iresnet34", 34), ("iresnet50", 50)])
def test_an_embedder_has_the_layers_of_its_name(name: str, layers: int) -> None:
    """Counted as always: convolutions of 3 x 3 and the last product, but not those of shortcuts."""
    graph = face_embedders.embedder_of(name, channels=(2, 2, 2, 2)).graph
    kernels = {one.name: tuple(one.dims[2:]) for one in graph.initializer if len(one.dims) == 4}
    wide = [node for node in graph.node if node.op_type == "Conv" and kernels[node.input[1]] == (3, 3)]
    assert len(wide) + sum(node.op_type == "Gemm" for node in graph.node) == layers
    onnx.checker.check_model(face_embedders.embedder_of(name, channels=(2, 2, 2, 2)), full_check=True)
