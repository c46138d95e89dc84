"""A collection moves to another model while it is searched: two fleets, one for each generation."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from benchmarks.model_file import make_model_file
from pipeline import wiring
from pipeline.types import JobState
from tests.chaos.pictures import picture
from tests.fleet import Fleet, wait_until
from workers.client import Answer, PictorClient

IMAGES = 8
QUERY = "3.jpg"


class Searches(threading.Thread):
    """Asks the same without a pause, and keeps what was answered."""

    def __init__(self, url: str, bucket: str, collection: str) -> None:
        super().__init__(name="searches", daemon=True)
        self._url, self._bucket, self._collection = url, bucket, collection
        self._over = threading.Event()
        self.answers: list[Answer] = []

    def run(self) -> None:
        with PictorClient(self._url) as client:
            while not self._over.is_set():
                query = f"s3://{self._bucket}/{QUERY}"
                answer = client.search(query, k=2, collection=self._collection, bucket=self._bucket)
                self.answers.append(answer)

    def stop(self) -> None:
        self._over.set()
        self.join(60)


@contextmanager
def searching(fleet: Fleet, bucket: str, collection: str) -> Iterator[Searches]:
    searches = Searches(fleet.env["PICTOR_BROKER_URL"], bucket, collection)
    searches.start()
    try:
        yield searches
    finally:
        searches.stop()


def second_score(answer: Answer) -> float:
    """Of the picture that comes after the query itself: each model has its own opinion of it."""
    first, second = cast("list[dict[str, object]]", answer["hits"])
    assert first["key"] == QUERY
    return round(cast(float, second["score"]), 4)


@pytest.mark.repeat
def test_a_collection_moves_to_another_model_while_it_is_searched(
    fleet: Fleet, bucket: str, tmp_path: Path
) -> None:
    model = make_model_file(tmp_path, "squeezenet1_1", resize=72, crop=64)
    fingerprint = wiring.load_model_spec(str(model), fleet.settings).fingerprint
    collection = f"{fleet.settings.collection}_moves"
    theirs = {"PICTOR_MODEL": str(model), "PICTOR_COLLECTION": collection}
    fleet.put_all(bucket, {f"{number}.jpg": picture(940_000 + number) for number in range(IMAGES)})
    ours = {"PICTOR_COLLECTION": collection}
    assert fleet.pictor("init", extra_env=ours).returncode == 0
    fleet.wait_for_job(fleet.submit(f"s3://{bucket}", collection=collection), JobState.COMPLETED)

    with searching(fleet, bucket, collection) as searches:
        wait_until(lambda: len(searches.answers) > 2, "the first generation answers", 60)
        done = fleet.pictor("init", "--new-generation", extra_env=theirs)
        assert done.returncode == 0, done.stderr
        worker = fleet.start(queues="embed,search", name="second", extra_env=theirs).ready()
        job_id = fleet.submit(f"s3://{bucket}", collection=collection, generation=fingerprint[:8])
        job = fleet.wait_for_job(job_id, JobState.COMPLETED)
        assert job.counts.indexed == IMAGES
        before = {second_score(answer) for answer in searches.answers}
        done = fleet.pictor("collections", "promote", collection, fingerprint[:8])
        assert done.returncode == 0, done.stderr
        wait_until(lambda: second_score(searches.answers[-1]) not in before, "the second answers", 60)
        promoted = len(searches.answers)
        wait_until(lambda: len(searches.answers) > promoted + 3, "and goes on to answer", 60)
    assert len(before) == 1
    assert len({second_score(answer) for answer in searches.answers}) == 2  # and never a mixture
    assert worker.terminate() == 0
