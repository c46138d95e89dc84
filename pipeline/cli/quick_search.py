"""`pictor search` through a running service, without the library that reads command lines.

That library makes a validator for each option, which takes longer than the search. Here are only the options
that need no thought. Whatever else is given, help and mistakes included, goes the usual way.
"""

from collections.abc import Sequence

from pipeline.bounds import MAX_HITS
from pipeline.cli.exit_codes import EXIT_INTERRUPTED, EXIT_UNFINISHED
from pipeline.cli.running_service import find_service
from pipeline.cli.search_options import SearchOptions

ONCE = ("--collection", "-k", "--min-score", "--prefix", "--bucket", "--where", "--embedding")
REPEATED = ("--metadata", "--text", "--not", "--weight")
AS_JSON = "--json"


def search_quickly(words: Sequence[str]) -> int | None:
    """Search, print the answers and return the exit code; None when the command must go the usual way.

    Args:
        words: the command line after the name of the program.

    Raises:
        PictorError: as the usual way does.
    """
    if words[:1] != ["search"] or (read := read_words(words[1:])) is None:
        return None
    if (service := find_service()) is None:
        return None
    from pipeline.cli.search_output import print_answers
    from pipeline.cli.search_there import search_there
    from pipeline.logs import configure_logging

    queries, wanted, as_json = read
    configure_logging("ERROR")
    try:
        answers = search_there(queries, wanted, service, None)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print_answers(answers, queries, wanted, as_json=as_json)
    return EXIT_UNFINISHED if any("error" in answer for answer in answers) else 0


def read_words(words: Sequence[str]) -> tuple[list[str], SearchOptions, bool] | None:
    """The queries, the options, and whether JSON is asked for. None for anything that is not plain."""
    queries: list[str] = []
    once: dict[str, str] = {}
    repeated: dict[str, list[str]] = {name: [] for name in REPEATED}
    as_json = False
    rest = iter(words)
    for word in rest:
        if word == AS_JSON:
            as_json = True
        elif word in ONCE or word in REPEATED:
            value = next(rest, "-")
            if value.startswith("-") or word in once:
                return None
            if word in ONCE:
                once[word] = value
            else:
                repeated[word].append(value)
        elif word.startswith("-"):
            return None
        else:
            queries.append(word)
    options = _options_of(once, repeated)
    if options is None or not (queries or options.has_words):
        return None
    return queries, options, as_json


def _options_of(once: dict[str, str], repeated: dict[str, list[str]]) -> SearchOptions | None:
    try:
        k, min_score = int(once.get("-k", "10")), float(once.get("--min-score", "0"))
    except ValueError:
        return None
    if not (1 <= k <= MAX_HITS and -1 <= min_score <= 1):
        return None
    return SearchOptions(
        collection=once.get("--collection", ""),
        k=k,
        min_score=min_score if "--min-score" in once else None,
        prefix=once.get("--prefix", ""),
        bucket=once.get("--bucket", ""),
        metadata=tuple(repeated["--metadata"]),
        text=tuple(repeated["--text"]),
        unwanted=tuple(repeated["--not"]),
        weights=tuple(repeated["--weight"]),
        where=once.get("--where", ""),
        embedding=once.get("--embedding", ""),
    )
