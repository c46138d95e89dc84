"""TorchEmbedder: shapes, lengths, failures of the device."""

import threading
from contextlib import suppress

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.adapters.models.torch_embedder import CPU_PASS_ITEMS, TorchEmbedder, pick_device, share_cores
from pipeline.errors import ConfigError, FatalError, TransientError
from pipeline.types import ModelSpec, Preprocessing

SIDE = 4


class MeanColour(nn.Module):
    """Three features. Remembers the groups it was given, and fails on demand."""

    def __init__(self, *, most_images: int = 1000, error: Exception | None = None) -> None:
        super().__init__()
        self.most_images = most_images
        self.error = error
        self.groups: list[int] = []
        self.threads_inside = 0
        self.most_threads_inside = 0

    def forward(self, images: Tensor) -> Tensor:
        self.threads_inside += 1
        self.most_threads_inside = max(self.most_threads_inside, self.threads_inside)
        try:
            if len(images) > self.most_images:
                raise torch.OutOfMemoryError("allocator at 0x7f")
            if self.error is not None:
                raise self.error
            self.groups.append(len(images))
            return images.mean((2, 3))
        finally:
            self.threads_inside -= 1


def make_embedder(
    module: nn.Module, *, group_items: int = 4, mean: float = 0.0, std: float = 1.0
) -> TorchEmbedder:
    spec = ModelSpec(
        name="fake",
        address="fake",
        architecture="fake",
        fingerprint="0" * 64,
        dim=3,
        preprocessing=Preprocessing(resize=SIDE, crop=SIDE, mean=(mean,) * 3, std=(std,) * 3),
    )
    return TorchEmbedder(module, spec, device=torch.device("cpu"), group_items=group_items)


def make_pixels(items: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(1, 256, (items, 3, SIDE, SIDE), np.uint8)


def expected_rows(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = pixels.mean((2, 3))
    rows: NDArray[np.float64] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return rows


@pytest.mark.parametrize("items", [1, 3, 4, 9])
def test_rows_come_back_in_order_and_of_unit_length(items: int) -> None:
    pixels = make_pixels(items)
    rows = make_embedder(MeanColour()).embed_images(pixels)
    assert rows.dtype == np.float32
    assert np.allclose(rows, expected_rows(pixels), atol=1e-6)


def test_pixels_are_scaled_and_normalised() -> None:
    class First(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([images[:, :1, 0, 0], torch.ones(len(images), 2)], dim=1)

    row = make_embedder(First(), mean=0.5, std=0.25).embed_images(np.full((1, 3, SIDE, SIDE), 255, np.uint8))[
        0
    ]
    assert row[0] / row[1] == pytest.approx((1 - 0.5) / 0.25)


def test_a_cpu_gets_no_padding() -> None:
    module = MeanColour()
    make_embedder(module, group_items=4).embed_images(make_pixels(6))
    assert module.groups == [4, 2]


def test_padding_gives_the_device_one_shape_and_the_caller_no_extra_row() -> None:
    module = MeanColour()
    embedder = TorchEmbedder(
        module, make_embedder(module).spec, device=torch.device("cpu"), group_items=4, pad_groups=True
    )
    pixels = make_pixels(6)
    assert np.allclose(embedder.embed_images(pixels), expected_rows(pixels), atol=1e-6)
    assert module.groups == [4, 4]


def test_no_images_give_no_rows() -> None:
    assert make_embedder(MeanColour()).embed_images(make_pixels(0)).shape == (0, 3)


def test_a_read_only_or_strided_block_is_taken() -> None:
    pixels = make_pixels(6)
    pixels.flags.writeable = False
    rows = make_embedder(MeanColour()).embed_images(pixels[::2])
    assert np.allclose(rows, expected_rows(pixels[::2]), atol=1e-6)


@pytest.mark.parametrize(
    "answer",
    [
        [0.0, 0.0, 0.0],
        [1e-30, 1e-30, 1e-30],  # its squares are zero in float32
        [float("nan"), 1.0, 1.0],
        [float("inf"), 1.0, 1.0],
    ],
)
def test_a_row_without_direction_is_nan_and_its_neighbours_are_not(answer: list[float]) -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            rows = torch.ones(len(images), 3)
            rows[1] = torch.tensor(answer)
            return rows

    rows = make_embedder(Broken()).embed_images(make_pixels(3))
    assert np.isnan(rows[1]).all()
    assert np.allclose(rows[[0, 2]], 3**-0.5)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 3, SIDE, SIDE), np.float32),
        np.zeros((1, 3, SIDE, SIDE + 1), np.uint8),
        np.zeros((1, SIDE, SIDE, 3), np.uint8),
        np.zeros((3, SIDE, SIDE), np.uint8),
    ],
)
def test_pixels_of_another_type_or_shape_are_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"takes uint8 \[N, 3, 4, 4\]"):
        make_embedder(MeanColour()).embed_images(pixels)


def test_out_of_memory_halves_the_group_for_good_and_loses_no_image() -> None:
    module = MeanColour(most_images=3)
    embedder = make_embedder(module, group_items=8)
    pixels = make_pixels(9)
    assert np.allclose(embedder.embed_images(pixels), expected_rows(pixels), atol=1e-6)
    assert module.groups == [2, 2, 2, 2, 1]
    assert embedder.group_items == 2


def test_no_memory_for_one_image_is_for_another_time() -> None:
    with pytest.raises(TransientError, match="no memory left for a single image") as caught:
        make_embedder(MeanColour(most_images=0)).embed_images(make_pixels(2))
    assert "0x7f" not in str(caught.value)


def test_a_failing_device_stops_the_process() -> None:
    module = MeanColour(error=RuntimeError("CUDA error: device-side assert at 0x7f"))
    with pytest.raises(FatalError, match="fake failed on cpu in a forward pass of 2 images") as caught:
        make_embedder(module).embed_images(make_pixels(2))
    assert "0x7f" not in str(caught.value)


def test_one_thread_at_a_time_is_on_the_device() -> None:
    module = MeanColour()
    embedder = make_embedder(module, group_items=1)
    threads = [threading.Thread(target=embedder.embed_images, args=(make_pixels(50),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(module.groups) == 200
    assert module.most_threads_inside == 1


class Meeting(MeanColour):
    """Two passes meet in it; nobody comes past it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.together = threading.Barrier(2)

    def forward(self, images: Tensor) -> Tensor:
        with suppress(threading.BrokenBarrierError):
            self.together.wait(timeout=30)
        return super().forward(images)


def test_as_many_passes_as_are_allowed_run_at_once_and_no_more() -> None:
    module = Meeting()
    spec = make_embedder(module).spec
    embedder = TorchEmbedder(module, spec, device=torch.device("cpu"), group_items=2, passes=2)
    threads = [threading.Thread(target=embedder.embed_images, args=(make_pixels(2),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not module.together.broken
    assert module.groups == [2, 2, 2, 2]
    assert module.most_threads_inside <= 2


def test_the_groups_of_one_call_are_shared_between_the_passes() -> None:
    module = Meeting()
    spec = make_embedder(module).spec
    embedder = TorchEmbedder(module, spec, device=torch.device("cpu"), group_items=2, passes=2)
    pixels = make_pixels(8)
    assert np.allclose(embedder.embed_images(pixels), expected_rows(pixels), atol=1e-6)
    assert not module.together.broken


@pytest.mark.parametrize(
    ("device", "threads", "batches", "shared"),
    [
        pytest.param("cpu", 2, 1, (2, 1), id="an embed child on two cores"),
        pytest.param("cpu", 2, 2, (2, 1), id="the embedded driver on two cores"),
        pytest.param("cpu", 16, 1, (4, 4), id="no more passes than a batch has groups of 8 in hand"),
        pytest.param("cpu", 16, 2, (8, 2), id="as many from each of two batches"),
        pytest.param("cpu", 6, 1, (4, 1), id="never more threads than there are"),
        pytest.param("cpu", 4, 0, (1, 4), id="a query waits for one pass on every core"),
        pytest.param("cuda", 4, 2, (2, 4), id="a GPU: one pass for each batch"),
        pytest.param("cuda", 4, 0, (1, 4), id="a GPU: one query"),
    ],
)
def test_cores_are_shared_out_over_as_many_passes_as_have_work(
    device: str, threads: int, batches: int, shared: tuple[int, int]
) -> None:
    found = share_cores(torch.device(device), threads=threads, batches=batches, group_items=32)
    assert found == shared


def test_a_cpu_takes_no_more_at_once_than_its_caches_hold() -> None:
    module = MeanColour()
    make_embedder(module, group_items=64).embed_images(make_pixels(CPU_PASS_ITEMS + 1))
    assert module.groups == [CPU_PASS_ITEMS, 1]


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "CPU", "", "mps"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="none of auto, cpu, cuda:N"):
        pick_device(name)


def test_a_gpu_that_is_not_there_is_refused_with_the_number_that_is() -> None:
    gpus = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"shows {gpus} CUDA devices"):
        pick_device(f"cuda:{gpus}")


def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu").type == "cpu"


def test_a_group_of_no_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="group_items is 0"):
        make_embedder(MeanColour(), group_items=0)


class NotedThreads(MeanColour):
    """Notes how many threads torch has for each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.threads.append(torch.get_num_threads())
        return super().forward(images)


def test_each_model_of_a_process_keeps_its_own_number_of_threads() -> None:
    spec = make_embedder(MeanColour()).spec
    of_searches, of_jobs = NotedThreads(), NotedThreads()
    cpu = torch.device("cpu")
    searches = TorchEmbedder(of_searches, spec, device=cpu, group_items=4, pass_threads=2)
    jobs = TorchEmbedder(of_jobs, spec, device=cpu, group_items=4, passes=2, pass_threads=1)
    for embedder in (searches, jobs, searches, jobs):
        embedder.embed_images(make_pixels(8))
    assert (set(of_searches.threads), set(of_jobs.threads)) == ({2}, {1})
