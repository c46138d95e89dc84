"""What is said of a model in int8, as a line of a table."""

from collections.abc import Mapping
from typing import cast

Fields = Mapping[str, object]


def with_int8_in_words(fields: Fields) -> dict[str, object]:
    """Args: `fields` are those of `collection_json` or `model_json`."""
    if "int8" not in fields:
        return dict(fields)
    found = cast("Fields", fields["int8"])
    return {
        **fields,
        "int8": f"recall@10 {found['recall_at_10']} against float32, on {found['images']} images",
    }
