"""Search with an index and a model that this process opens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import wiring
from pipeline.cli.output import note
from pipeline.cli.search_options import SearchOptions
from pipeline.cli.search_ports import open_search_ports
from pipeline.ports.model_binding import find_collection
from pipeline.service.access import local_caller
from pipeline.service.answers import answer_json
from pipeline.service.arguments import read_justification, read_pairs, read_person, read_query, read_search
from pipeline.service.conditions import read_condition_text
from pipeline.service.query_words import read_words
from pipeline.service.search import search_images
from pipeline.settings import Settings


def search_here(
    texts: Sequence[str], wanted: SearchOptions, model: str, html: Path | None
) -> list[Mapping[str, object]]:
    """An answer for each text, or for words alone, with the fields of `answer_json`.

    Args:
        html: the page to write.
    """
    settings = Settings.from_env()
    limits = wiring.limits_of(settings)
    asked: Sequence[str | None] = texts or [None]  # words alone
    queries = [
        read_words(
            None if text is None else read_query(text, locate_file=wiring.locate_file),
            text=wanted.text,
            unwanted=wanted.unwanted,
            weights=read_pairs(wanted.weights, of="--weight"),
        )
        for text in asked
    ]
    request = read_search(
        collection=wanted.collection or settings.collection,
        k=wanted.k,
        min_score=wanted.min_score,
        prefix=wanted.prefix,
        bucket=wanted.bucket,
        metadata=read_pairs(wanted.metadata, of="--metadata"),
        condition=read_condition_text(wanted.where, of="--where"),
        group_by=wanted.group_by,
        embedding=wanted.embedding,
        justification=read_justification(**wanted.stated),
    )
    caller = local_caller(on_behalf_of=read_person(wanted.on_behalf_of))
    with open_search_ports(settings, request.collection, model=model) as ports:
        info = find_collection(request.collection, ports.index)
        answers = list(search_images(queries, request, ports, limits, caller))
        if html is not None:
            from pipeline.cli.html_page import write_page

            write_page(html, answers, info, ports.store, limits)
            note(f"wrote {html}")
    return [answer_json(answer) for answer in answers]
