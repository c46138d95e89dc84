"""`pictor search`: find the images nearest to an example."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.output import fail, note, write_json, write_table
from pipeline.errors import ConfigError
from pipeline.ports import MAX_HITS, Embedder
from pipeline.public import answer_json
from pipeline.search import (
    ROW_ID,
    ObjectQuery,
    Query,
    SearchAnswer,
    SearchDeps,
    SearchRequest,
    StoredQuery,
    search_images,
)
from pipeline.settings import Settings, check_collection_name
from pipeline.source import local_path, split_s3_url
from pipeline.types import CollectionInfo, SearchFilter


def search(
    query: Annotated[
        list[str], typer.Argument(help="An image file, s3://bucket/key, file:///path or stored id.")
    ],
    collection: Annotated[str, typer.Option(help="Collection to search; PICTOR_COLLECTION.")] = "",
    k: Annotated[int, typer.Option("-k", help="Hits per query.", min=1, max=MAX_HITS)] = 10,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out hits below this cosine.", min=-1, max=1)
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    bucket: Annotated[str, typer.Option(help="Only this bucket or folder.")] = "",
    metadata: Annotated[
        list[str] | None, typer.Option(help="Only objects with this user metadata, NAME=VALUE (repeatable).")
    ] = None,
    model: Annotated[str, typer.Option(help="The collection's model, if its file has moved.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per query and line.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with thumbnails to this file.")] = None,
) -> None:
    """Find the images nearest to each QUERY."""
    settings = Settings.from_env()
    queries = [read_query(text) for text in query]
    request = SearchRequest(
        collection=check_collection_name(collection or settings.collection),
        k=k,
        min_score=min_score,
        where=SearchFilter(key_prefix=prefix, bucket=bucket, metadata=_pairs(metadata or [])),
    )
    with wiring.open_index(settings) as index:
        info = index.get_collection(request.collection)
        if info is None:
            raise ConfigError(_no_collection(request.collection, [c.name for c in index.list_collections()]))
        deps = SearchDeps(
            store=wiring.open_store(settings),
            index=index,
            embedder=functools.cache(lambda: _matching_model(model, info, settings)),
        )
        answers = list(search_images(queries, request, deps, wiring.limits_of(settings)))
        if html is not None:
            from pipeline.cli.html_page import write_page

            write_page(html, answers, info, deps.store, wiring.limits_of(settings))
            note(f"wrote {html}")
    _print(answers, as_json=as_json)
    if any(answer.fault for answer in answers):
        raise typer.Exit(1)


def read_query(text: str) -> Query:
    """A path that exists wins over an id that looks the same.

    Raises:
        ConfigError: neither an object, nor a file, nor an id.
    """
    if text.startswith("s3://"):
        bucket, key = split_s3_url(text)
        if not key:
            raise ConfigError(f"query {text}: no key; s3://bucket/key is expected")
        return ObjectQuery(text=text, bucket=bucket, key=key)
    path = local_path(text)
    try:
        if path.is_file():
            return _file_query(text, path)
    except OSError as err:  # a name that is too long, a folder that may not be entered
        raise ConfigError(f"query {text}: {err.strerror}") from err
    if ROW_ID.fullmatch(text):
        return StoredQuery(text=text, id=text)
    what = "is a folder" if path.is_dir() else "does not exist, and is no image id (32 hex digits) either"
    raise ConfigError(f"query {text}: {what}")


def _file_query(text: str, path: Path) -> ObjectQuery:
    from pipeline.adapters.folder_keys import key_of_name

    real = path.resolve()
    return ObjectQuery(text=text, bucket=str(real.parent), key=key_of_name(os.fsencode(real.name)))


def _matching_model(requested: str, info: CollectionInfo, settings: Settings) -> Embedder:
    from pipeline.model_binding import check_binding

    source = wiring.choose_model(requested or settings.model, info)
    precision = wiring.choose_precision(settings.precision, info)
    embedder = wiring.load_model(source, settings, precision=precision)
    check_binding(info, embedder.spec)
    return embedder


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(f"--metadata {text}: NAME=VALUE is expected")
        pairs[name] = value
    return pairs


def _no_collection(name: str, others: Sequence[str]) -> str:
    there = (
        f"there are: {', '.join(others)}" if others else "there is none yet; run `pictor ingest FOLDER` first"
    )
    return f"collection {name} does not exist; {there}"


def _print(answers: Sequence[SearchAnswer], *, as_json: bool) -> None:
    for answer in answers:
        if as_json:
            write_json(answer_json(answer))
        elif answer.fault:
            fail(f"{answer.query}: {answer.fault}")
        else:
            note(f"{answer.query}: {len(answer.hits)} hits")
            write_table(
                ("score", "key", "size", "bucket", "id"),
                [(f"{h.score:.4f}", h.key, f"{h.width}x{h.height}", h.bucket, h.id) for h in answer.hits],
            )
