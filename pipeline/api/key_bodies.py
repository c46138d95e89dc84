"""The bodies of keys on the wire."""

from typing import Annotated

from pydantic import BaseModel, Field

from pipeline.api.bodies import Stated, Strict
from pipeline.types import KeyRole

Globs = Annotated[list[str], Field(min_length=1, max_length=100, examples=[["*"]])]


class NewKey(Strict):
    name: Annotated[str, Field(min_length=1, max_length=100, examples=["search page of the shop"])]
    roles: Annotated[list[KeyRole], Field(min_length=1, fail_fast=True, examples=[["searcher"]])]
    collections: Annotated[Globs, Field(description="Globs of the collections that it may reach")] = ["*"]
    buckets: Annotated[Globs, Field(description="Globs of the buckets that it may name")] = ["*"]
    acts_for_others: Annotated[
        bool, Field(description="It may say on whose behalf it asks, with X-Pictor-On-Behalf-Of")
    ] = False
    justification: Annotated[Stated, Field(description="Of its searches that state nothing themselves")] = (
        Stated()
    )
    expires_in_days: Annotated[float | None, Field(gt=0, le=36_500, description="Left out: never")] = None


class Rotation(Strict):
    overlap_hours: Annotated[
        float, Field(ge=0, le=8760, description="How long the former key stays valid")
    ] = 24


class Key(BaseModel):
    id: Annotated[str, Field(examples=["4fTz0QpW9dKe"])]
    name: str
    tenant: str
    roles: list[KeyRole]
    collections: list[str]
    buckets: list[str]
    acts_for_others: bool
    justification: Stated
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: Annotated[str | None, Field(description="To a quarter of an hour")]
    replaces: Annotated[str, Field(description="The id of the key that it was rotated from, or nothing")]


class Keys(BaseModel):
    keys: list[Key]


class NewSecret(Key):
    secret: Annotated[str, Field(description="For `Authorization: Bearer`. It is shown once")]
