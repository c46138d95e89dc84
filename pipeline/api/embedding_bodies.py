"""The bodies of embeddings on the wire, as OpenAI's API has them."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from pipeline.api.bodies import MAX_QUERIES, MAX_TEXT_CHARS, Strict


class EmbeddingRequest(Strict):
    """As OpenAI's API has it, with pictures in the place of texts."""

    input: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=MAX_QUERIES)],
        Field(
            description="A picture as a data URL or in base64, or several",
            examples=["data:image/jpeg;base64,/9j/4AAQSkZJRg…"],
        ),
    ]
    model: Annotated[
        str, Field(max_length=200, description="The name of a collection's model", examples=["builtin"])
    ]
    encoding_format: Annotated[
        Literal["float", "base64"], Field(description="base64 is of little-endian float32")
    ] = "float"
    dimensions: Annotated[int | None, Field(ge=1, description="Only the model's own number")] = None
    user: Annotated[str, Field(max_length=MAX_TEXT_CHARS, description="Not used")] = ""


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Annotated[list[float] | str, Field(description="Of unit length")]


class EmbeddingUsage(BaseModel):
    """Pictures have no tokens."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class Embeddings(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage = EmbeddingUsage()
