"""The further embeddings of a generation: where an index keeps them, and what each row must have of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.errors import ConfigError, ModelError
from pipeline.names import beside_name, check_embedding_name
from pipeline.ports.image_rows import check_rows
from pipeline.types import BoundModel, CollectionRef, IndexRow, ModelBeside, ModelSpec

Images = Mapping[str, Sequence[IndexRow]]  # rows by image id


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One further embedding. `ref` is where its vectors are, a collection of its own below."""

    embedding: str
    ref: CollectionRef
    dim: int


def parts_of(ref: CollectionRef, model: BoundModel) -> tuple[Part, ...]:
    """All that follows from the generation: whoever knows its reference finds its parts."""
    return tuple(
        Part(embedding=embedding, ref=part_ref(ref, embedding), dim=of_it.dim)
        for embedding, of_it in sorted(model.beside.items())
    )


def part_ref(ref: CollectionRef, embedding: str) -> CollectionRef:
    return replace(ref, name=beside_name(ref.name, ref.fingerprint, embedding))


def part_spec(model: ModelSpec, each: ModelBeside) -> ModelSpec:
    """What the part is made with: bound to the generation as a whole, not to a model that others use, too."""
    return replace(each.spec, fingerprint=model.fingerprint)


def check_models(model: ModelSpec) -> None:
    """Raises ModelError: no generation can have these models beside each other."""
    names = [check_embedding_name(each.name) for each in model.beside]
    if names != sorted(set(names)):
        raise ModelError(f"model {model.name!r}: embeddings {names}: each once, in order of their names")
    for spec in (model, *(each.spec for each in model.beside)):
        if model.beside and spec.has_views:
            raise ModelError(
                f"model {spec.name!r} looks at parts of an image; only models of whole images can be beside "
                "each other"
            )


def check_embeddings(collection: str, dim: int, parts: Sequence[Part], images: Images) -> None:
    """Raises ConfigError: a row has other embeddings than these, or one of another length."""
    check_rows(collection, images, has_views=False)
    wanted = {part.embedding: (part.dim,) for part in parts}
    for rows in images.values():
        for row in rows:
            found = {embedding: vector.shape for embedding, vector in row.beside.items()}
            if found != wanted or row.vector.shape != (dim,):
                raise ConfigError(
                    f"collection {collection!r} holds {_in_words((dim,), wanted)} of each image; the row of "
                    f"{row.ref.key!r:.60} has {_in_words(row.vector.shape, found)}"
                )


def refuse_embeddings(collection: str, images: Images) -> None:
    """Raises ConfigError: a row has a further embedding, where each image has one alone."""
    for rows in images.values():
        for row in rows:
            if row.beside:
                names = ", ".join(sorted(row.beside))
                raise ConfigError(
                    f"collection {collection!r} holds one embedding of each image; the row of "
                    f"{row.ref.key!r:.60} has {names} besides"
                )


def rows_of_part(images: Images, embedding: str) -> Images:
    return {
        image_id: [replace(row, vector=row.beside[embedding], beside={}) for row in rows]
        for image_id, rows in images.items()
    }


def rows_of_first(images: Images) -> Images:
    return {image_id: [replace(row, beside={}) for row in rows] for image_id, rows in images.items()}


def _in_words(first: tuple[int, ...], beside: Mapping[str, tuple[int, ...]]) -> str:
    lengths = {"the first": first} | dict(sorted(beside.items()))
    return "embeddings " + ", ".join(f"{name} {list(shape)}" for name, shape in lengths.items())
