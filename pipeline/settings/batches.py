"""How much is done at once, and how large an image may be."""

from typing import Annotated

from pydantic import BaseModel, Field


class BatchSettings(BaseModel):
    batch_items: Annotated[int, Field(ge=1, le=1000, description="Objects per message")] = 64
    queue_batches: Annotated[
        int, Field(ge=1, description="Longest backlog of planned batches in the embedded driver")
    ] = 4
    batch_threads: Annotated[
        int, Field(ge=1, le=16, description="Batches worked on at once by the embedded driver")
    ] = 2
    fetch_threads: Annotated[
        int,
        Field(
            ge=0,
            le=128,
            description="Objects of a batch fetched at once. 0 means 8, or fewer if the container has little memory",
        ),
    ] = 0
    decode_threads: Annotated[
        int,
        Field(
            ge=0,
            le=128,
            description="Images decoded at once. 0 means one for each core, or fewer if the container has little memory",
        ),
    ] = 0
    group_items: Annotated[
        int,
        Field(ge=1, le=4096, description="Images given to the device at once. A CPU takes them 8 by 8"),
    ] = 32
    max_object_bytes: Annotated[int, Field(ge=1, description="Largest object that is read, bytes")] = (
        64 * 2**20
    )
    max_px: Annotated[int, Field(ge=1, description="Most pixels of an image, whatever its format")] = (
        100_000_000
    )
    decode_budget_bytes: Annotated[
        int,
        Field(
            ge=2**20,
            description="Most memory that decoding one image may need, in bytes. It is estimated from the header",
        ),
    ] = 224 * 2**20
    decode_deadline_s: Annotated[
        float,
        Field(
            ge=1,
            allow_inf_nan=False,
            description="Longest time that decoding one image, and finding the faces in it, may take, in seconds of one core. It is looked at between steps. Then the image has the reason `timeout`",
        ),
    ] = 60.0  # the work that is allowed takes about 10 s on a core of 2024; old ones are half as fast
    min_side_px: Annotated[int, Field(ge=1, description="Shortest side of an image, px")] = 4
