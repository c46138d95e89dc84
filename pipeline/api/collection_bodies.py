"""The bodies of collections on the wire, and which models may be named there."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.api.bodies import Strict

# No file of this machine: requests name no paths. Names begin with no dot, so none leads out of its folder.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,95}"
MODEL_ADDRESS = rf"^(builtin|torchvision/\w{{1,64}}|timm/{_NAME}|hf/{_NAME}(/{_NAME})?)?$"
NAMES_OF_MODELS = "builtin, torchvision/NAME, timm/NAME or hf/ORG/NAME"


class CollectionEmbedding(BaseModel):
    """One of several that each image of a collection has."""

    name: Annotated[str, Field(description="What a search calls it. `main` is the first")]
    model: str
    fingerprint: str
    dim: int
    reads_text: Annotated[bool, Field(description="It can be searched with words")]


class Int8Recall(BaseModel):
    """What the calibration of a model in int8 found."""

    recall_at_10: Annotated[
        float, Field(description="The share of the ten nearest images that are the same as in float32")
    ]
    images: Annotated[int, Field(description="Of the sample on which that was measured")]


class Collection(BaseModel):
    name: Annotated[str, Field(examples=["images"])]
    rows: int
    model: str
    model_source: str
    fingerprint: str
    dim: int
    vector_type: str
    precision: str
    int8: Annotated[Int8Recall | None, Field(description="Of a collection in int8 whose record has it")] = (
        None
    )
    embeddings: Annotated[
        list[CollectionEmbedding] | None, Field(description="Of a collection with several of each image")
    ] = None


class Collections(BaseModel):
    collections: list[Collection]


class Generation(BaseModel):
    fingerprint: Annotated[str, Field(description="Of the model that made the vectors")]
    model: str
    rows: int
    live: Annotated[bool, Field(description="Searches look here")]
    precision: str


class Generations(BaseModel):
    generations: list[Generation]


class NewCollection(Strict):
    name: Annotated[str, Field(max_length=100, examples=["photos"])]
    model: Annotated[str, Field(pattern=MODEL_ADDRESS, description=NAMES_OF_MODELS, examples=["builtin"])] = (
        "builtin"
    )
