"""Print the answers of a search."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from pipeline.cli.output import counted, fail, note, warn, write_json, write_table
from pipeline.cli.search_options import SearchOptions
from pipeline.errors import ArgumentError
from pipeline.names import cut
from pipeline.service.query_words import described

RECEIPT = ("query", "receipt", "inclusion")  # of an answer


def print_answers(
    answers: Sequence[Mapping[str, object]], queries: Sequence[str], wanted: SearchOptions, *, as_json: bool
) -> None:
    """Args: `answers` to `queries`, or to words alone, have the fields of `answer_json`."""
    for answer, query in zip(answers, queries or [""], strict=True):
        title = _title(query, wanted)
        if as_json:
            write_json(answer)
        elif "error" in answer:
            fail(f"{title}: {answer['error']}")
        else:
            _print_hits(answer, title)
            for other in cast("Sequence[Mapping[str, object]]", answer.get("other_faces", ())):
                _print_hits(other, title)
    say_what_is_due(answers)


def _title(query: str, wanted: SearchOptions) -> str:
    """Words are cut, and a path is not: its end tells which picture it is."""
    words = cut(described(wanted.text, wanted.unwanted, ""))
    return described([words] if words else [], [], query)


def _print_hits(answer: Mapping[str, object], title: str) -> None:
    hits = list(cast("Iterable[Mapping[str, object]]", answer["hits"]))
    by = f" by embedding {answer['embedding']}" if "embedding" in answer else ""
    note(f"{title}{_face(answer)}: {counted(len(hits), 'hit')}{by}")
    if hits and "person" in hits[0]:
        rows = [(f"{hit['score']:.4f}", hit["person"], hit["key"], hit["id"]) for hit in hits]
        write_table(("score", "person", "key", "id"), rows)
    else:
        write_table(("score", "key", "size", "bucket", "id"), [_row(hit) for hit in hits])


def write_receipts(path: Path, answers: Sequence[Mapping[str, object]]) -> None:
    """What a receipt needs of each answer that has one, see `audit.receipt_file`.

    Raises:
        ArgumentError: the file cannot be written.
    """
    kept = [{name: answer[name] for name in RECEIPT} for answer in answers if "inclusion" in answer]
    try:
        path.write_text("".join(f"{json.dumps(one)}\n" for one in kept), encoding="utf-8")
    except OSError as err:
        raise ArgumentError(f"--receipt {path} cannot be written: {err.strerror}") from err


def say_what_is_due(answers: Sequence[Mapping[str, object]]) -> None:
    """That nobody records, and who must verify hits."""
    if any("recording" in answer for answer in answers):
        warn("recording is off: nobody can tell afterwards that you searched")
    persons = [answer["to_verify"] for answer in answers if answer.get("to_verify") and answer["hits"]]
    if persons:
        note(f"To be verified: {persons[0]} persons must look at each hit before it counts.")


def _face(answer: Mapping[str, object]) -> str:
    """Which face of a picture was searched for, where there can be several."""
    box = cast("Mapping[str, int] | None", answer.get("face"))
    return f", face at {box['left']},{box['top']} of {box['width']}x{box['height']} px" if box else ""


def _row(hit: Mapping[str, object]) -> tuple[object, ...]:
    return (f"{hit['score']:.4f}", hit["key"], f"{hit['width']}x{hit['height']}", hit["bucket"], hit["id"])
