"""From the texts of queries to vectors, in groups through the model."""

from collections.abc import Mapping, Sequence

from pipeline.names import MAIN_EMBEDDING, shown
from pipeline.ports import TextEmbedder
from pipeline.search.query import Text
from pipeline.types import BoundModel, CollectionRef, Vector

TEXTS_AT_ONCE = 64  # bounds the memory of one forward pass


def embed_words(queries: Sequence[Text], embedder: TextEmbedder) -> Mapping[str, Vector | str]:
    """Of each text, once: its vector [D], or why the model cannot read it."""
    texts = list(dict.fromkeys(text for query in queries for text in (*query.prompts, *query.unwanted)))
    counts = embedder.count_tokens(texts) if texts else []
    found: dict[str, Vector | str] = {
        text: _too_long(text, count, embedder)
        for text, count in zip(texts, counts, strict=True)
        if count > embedder.max_tokens
    }
    readable = [text for text in texts if text not in found]
    for start in range(0, len(readable), TEXTS_AT_ONCE):
        group = readable[start : start + TEXTS_AT_ONCE]
        found |= dict(zip(group, embedder.embed_texts(group), strict=True))
    return found


def reads_no_text(target: CollectionRef, model: BoundModel, embedding: str = "") -> str:
    """What is said of a collection, or of one embedding in it, that cannot be searched with words."""
    embeddings = {MAIN_EMBEDDING: model, **model.beside}
    if readers := [name for name, of_it in embeddings.items() if of_it.reads_text]:
        name = embedding or MAIN_EMBEDDING
        return (
            f"embedding {name!r} of collection {target.name!r} is of model {embeddings[name].name!r}, which "
            f"has images and no text; search it with a picture, or take an embedding that reads text: "
            f"{', '.join(readers)}"
        )
    return (
        f"collection {target.name!r} is of model {model.name!r}, which has images and no text; search it "
        "with a picture, or use a model that has both, such as CLIP or SigLIP"
    )


def _too_long(text: str, tokens: int, embedder: TextEmbedder) -> str:
    return (
        f"text {shown(text)} is {tokens} tokens, and model {embedder.spec.name!r} reads at most "
        f"{embedder.max_tokens}; use fewer words, or several texts, which are averaged"
    )
