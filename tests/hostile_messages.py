"""Messages of somebody who may publish and means harm, or whose program is broken. One seed, one sequence."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH_TASKS = ("pictor.embed_batch", "pictor.prepare_batch", "pictor.ingest_batch")
PUBLIC_TASKS = ("pictor.ingest", "pictor.delete", "pictor.search", "pictor.job")
OTHER_TASKS = (
    *("celery.map", "celery.starmap", "celery.chunks", "celery.group", "celery.chain", "celery.chord"),
    *("celery.chord_unlock", "celery.backend_cleanup", "celery.accumulate", "no.such.task", "pictor.", ""),
)
JUNK: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 2, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30),
    *(0.0, 1.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", " ", "x", "\0", "\n", "\x7f", "\ud800", "😀" * 300, "x" * 5000, "../..", "%s", "1", "null", "a\0b"),
    *([], [[]], [None] * 50, ["x"], {}, {"v": 1}, {"": {"": {}}}, [1, 2, 3]),
)
VERSIONS: tuple[object, ...] = (0, 2, 3, -1, "1", True, 1.0, None, [1])


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One message, as JSON and AMQP can carry it."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the publisher has learned: messages that were planned, ids of jobs, names of buckets."""

    batches: Sequence[bytes]
    jobs: Sequence[str]
    forbidden_bucket: str  # holds objects that no job asks for
    own_bucket: str
    own_collection: str
    crashes_header: str


def hostile_messages(seed: int, count: int, known: Known) -> Iterator[Hostile]:
    rng = random.Random(seed)
    kinds: Sequence[tuple[int, Callable[[random.Random, Known], Hostile]]] = (
        (8, _forged_batch),
        (3, _junk_batch),
        (4, _plan_step),
        (4, _public),
        (1, _other),
    )
    makers = [make for weight, make in kinds for _ in range(weight)]
    for _ in range(count):
        made = rng.choice(makers)(rng, known)
        yield Hostile(task=made.task, headers=_headers(rng, known), args=made.args, kwargs=made.kwargs)


def _forged_batch(rng: random.Random, known: Known) -> Hostile:
    """One of a batch that there is, with fields that are wrong."""
    fields = json.loads(rng.choice(known.batches))
    for _ in range(rng.randint(1, 3)):
        rng.choice(_FORGERIES)(rng, known, fields)
    text = json.dumps(fields, ensure_ascii=rng.random() < 0.5)
    return Hostile(task=rng.choice(BATCH_TASKS), args=[], kwargs={"message": text})


def _other_bucket(_rng: random.Random, known: Known, fields: dict[str, Any]) -> None:
    fields["bucket"] = known.forbidden_bucket


def _other_objects(rng: random.Random, _known: Known, fields: dict[str, Any]) -> None:
    fields["objects"] = [["secret.jpg", rng.choice(["e1", "", "x" * 40]), rng.choice([0, 10, 2**62])]]


def _other_batch(rng: random.Random, known: Known, fields: dict[str, Any]) -> None:
    """Content of one under the name of another."""
    named = json.loads(rng.choice(known.batches))
    fields["job_id"], fields["path"] = named["job_id"], named["path"]


def _other_job(rng: random.Random, known: Known, fields: dict[str, Any]) -> None:
    fields["job_id"] = rng.choice([*known.jobs, "no-such-job"])


def _other_path(rng: random.Random, _known: Known, fields: dict[str, Any]) -> None:
    path = str(fields.get("path"))
    fields["path"] = rng.choice([f"{path}.0", f"{path}.1", path[:-1], "00000000", "retry1-00000000", "../x"])


def _other_model(rng: random.Random, _known: Known, fields: dict[str, Any]) -> None:
    fields["fingerprint"] = rng.choice(["0e" * 32, "f0" * 32, "", "x" * 64])


def _block(rng: random.Random, known: Known, fields: dict[str, Any]) -> None:
    own = f"{fields.get('job_id')}/{fields.get('path')}.block"
    other = json.loads(rng.choice(known.batches))
    others = f"{other['job_id']}/{other['path']}.block"
    fields["block"] = rng.choice([own, own, others, "somebody/elses.txt", "../secret.jpg", rng.choice(JUNK)])


def _version(rng: random.Random, _known: Known, fields: dict[str, Any]) -> None:
    fields["v"] = rng.choice(VERSIONS)


def _one_junk(rng: random.Random, _known: Known, fields: dict[str, Any]) -> None:
    name = rng.choice([*fields, "block", "modified", "rewritten", "of_a_newer_build"])
    fields[name] = rng.choice(JUNK)


def _no_field(rng: random.Random, _known: Known, fields: dict[str, Any]) -> None:
    fields.pop(rng.choice(list(fields)), None)


_FORGERIES = (
    *(_other_bucket, _other_objects, _other_batch, _other_job, _other_path, _other_model, _block, _version),
    *(_one_junk, _one_junk, _no_field),
)


def _junk_batch(rng: random.Random, known: Known) -> Hostile:
    body = rng.choice(known.batches).decode()
    cut = body[: rng.randrange(len(body))]
    message = rng.choice(
        [cut, body + body, "[" * 10_000, "{}", body.replace(":", ";"), rng.choice(JUNK), body]
    )
    arguments = rng.choice([{"message": message}, {"message": message, "more": 1}, {"mess": message}, {}])
    return Hostile(task=rng.choice(BATCH_TASKS), args=rng.choice([[], [], [message]]), kwargs=arguments)


def _plan_step(rng: random.Random, known: Known) -> Hostile:
    fields: dict[str, Any] = {
        "job_id": rng.choice([*known.jobs, "no-such-job"]),
        "step": rng.choice([0, 1, 2, 5, 2**31 - 1]),
        "nonce": f"{rng.getrandbits(128):032x}",
    }
    if rng.random() < 0.5:
        fields[rng.choice(list(fields))] = rng.choice(JUNK)
    return Hostile(task="pictor.plan_job", args=[], kwargs=fields)


def _public(rng: random.Random, known: Known) -> Hostile:
    task = rng.choice(PUBLIC_TASKS)
    asked: dict[str, dict[str, Any]] = {
        "pictor.ingest": {
            "source": f"s3://{rng.choice([known.own_bucket, known.forbidden_bucket])}/",
            "collection": known.own_collection,
            "job_id": rng.choice([*known.jobs, "theirs"]),
        },
        "pictor.delete": {
            "bucket": rng.choice([known.own_bucket, known.forbidden_bucket]),
            "keys": ["a.jpg"],
            "collection": known.own_collection,
        },
        "pictor.search": {
            "query": f"s3://{rng.choice([known.own_bucket, known.forbidden_bucket])}/secret.jpg",
            "collection": known.own_collection,
        },
        "pictor.job": {"job_id": rng.choice([*known.jobs, "no-such-job"])},
    }
    fields = {"v": 1, **asked[task]}
    for _ in range(rng.randint(0, 2)):
        name = rng.choice([*fields, "more", "include", "k", "batch_items", "max_delete_share", "metadata"])
        # No collection but their own: whoever may submit may also delete.
        if name != "collection":
            fields[name] = rng.choice(VERSIONS if name == "v" else JUNK)
    return Hostile(task=task, args=rng.choice([[], [], [], [1]]), kwargs=fields)


def _other(rng: random.Random, known: Known) -> Hostile:
    inner = {
        "task": "pictor.plan_job",
        "args": [],
        "kwargs": {"job_id": known.jobs[0], "step": 0, "nonce": "x"},
    }
    return Hostile(
        task=rng.choice(OTHER_TASKS),
        args=rng.choice([[], [inner], [inner, [1, 2]], [[inner]]]),
        kwargs=rng.choice([{}, {"task": inner, "it": [[1]]}, {"group_id": "x", "callback": inner}]),
    )


_HEADERS = (
    *("x-delivery-count", "retries", "eta", "timelimit", "group", "root_id", "ignore_result", "is_eager"),
    *("stamps", "pictor-due-at", "headers", "shadow", "argsrepr"),
)


def _headers(rng: random.Random, known: Known) -> dict[str, object]:
    headers: dict[str, object] = {
        "id": rng.choice([f"{rng.getrandbits(64):x}", known.jobs[0], "x" * 300, "\n"])
    }
    for _ in range(rng.choice([0, 0, 1, 2])):
        name = rng.choice([known.crashes_header, *_HEADERS])
        headers[name] = rng.choice([0, 1, 4, 5, 1000, 2**31, 2**63 - 1, -1, True, "x", None, [], 0.5])
    return headers
