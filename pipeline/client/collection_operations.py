"""Operations on collections and their generations."""

from pipeline.client.calls import JSON_HEADERS, Call, json_body, new_key, nothing, read_json
from pipeline.client.requests import collection_path
from pipeline.client.results import Collection, Generation, read_all, reader_of


def list_collections() -> Call[list[Collection]]:
    """All collections, by name."""
    return Call(
        method="GET",
        path="/v1/collections",
        read=lambda body: list(read_all(Collection, read_json(body).get("collections"))),
    )


def show_collection(name: str) -> Call[Collection]:
    """Raises NotFoundError, and names the collections that are there."""
    return Call(method="GET", path=collection_path(name), read=reader_of(Collection))


def list_generations(name: str) -> Call[list[Generation]]:
    """The vectors of each model that a collection has. Raises NotFoundError."""
    return Call(
        method="GET",
        path=f"{collection_path(name)}/generations",
        read=lambda body: list(read_all(Generation, read_json(body).get("generations"))),
    )


def create_collection(name: str, *, model: str = "builtin") -> Call[Collection]:
    """A collection for the vectors of one model. The same call twice makes one.

    Args:
        model: builtin, torchvision/NAME, timm/NAME or hf/ORG/NAME.

    Raises:
        ModelMismatchError: it is there, and another model's.
    """
    return Call(
        method="POST",
        path="/v1/collections",
        headers=JSON_HEADERS | {"idempotency-key": new_key()},
        body=json_body({"name": name, "model": model}),
        read=reader_of(Collection),
    )


def drop_collection(name: str) -> Call[None]:
    """Delete a collection and all its vectors. The images themselves are not touched."""
    # Not repeatable: another may have made one of the same name since.
    return Call(method="DELETE", path=collection_path(name), read=nothing, is_repeatable=False)
