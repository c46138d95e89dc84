"""Collections: create, show, list, drop."""

from fastapi import APIRouter, Response

from pipeline.api.backend import Asks, Ports
from pipeline.api.collection_bodies import Collection, Collections, Generation, Generations, NewCollection
from pipeline.api.idempotency import TAKES_KEY
from pipeline.service import create, delete, show
from pipeline.service.access import Permission, require
from pipeline.service.answers import collection_json, generation_json
from pipeline.service.face_pictures import forget_pictures

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", response_model_exclude_none=True)
def list_collections(ports: Ports, caller: Asks) -> Collections:
    """All collections, by name."""
    found = show.list_collections(ports.index, caller)
    return Collections(collections=[Collection.model_validate(collection_json(info)) for info in found])


@router.post("", status_code=201, dependencies=[TAKES_KEY], response_model_exclude_none=True)
def create_collection(body: NewCollection, ports: Ports, caller: Asks, response: Response) -> Collection:
    """Make a collection for the vectors of one model. The same request twice makes one collection."""
    require(caller, Permission.WRITE)  # before a model is read: its weights may be fetched from elsewhere
    spec = ports.model_for(body.model, body.name).spec
    info = create.create_collection(body.name, spec, ports.index, ports.policies, caller)
    response.headers["location"] = f"/v1/collections/{info.name}"
    return Collection.model_validate(collection_json(info))


@router.get("/{name}", response_model_exclude_none=True)
def show_collection(name: str, ports: Ports, caller: Asks) -> Collection:
    """One collection, with its model and the number of its rows."""
    return Collection.model_validate(collection_json(show.show_collection(name, ports.index, caller)))


@router.get("/{name}/generations")
def list_generations(name: str, ports: Ports, caller: Asks) -> Generations:
    """The vectors of each model that the collection has, by fingerprint. One of them is live."""
    found = show.list_generations(name, ports.index, caller)
    return Generations(generations=[Generation.model_validate(generation_json(info)) for info in found])


@router.delete("/{name}", status_code=204)
def drop_collection(name: str, ports: Ports, caller: Asks) -> None:
    """Delete a collection and all its vectors. Images are not touched, but for those that IndexFaces kept."""
    delete.drop_collection(name, ports.index, ports.ledger.book, ports.persons, ports.answers_to, caller)
    forget_pictures(name, ports.uploads, ports.store, caller)
