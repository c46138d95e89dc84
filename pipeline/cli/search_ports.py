"""What a search, or a look at faces, needs of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pipeline import wiring, wiring_audit
from pipeline.evaluation.scale import calibration_in
from pipeline.service.accountability import Accountability
from pipeline.service.models import LoadedOnDemand
from pipeline.service.search import SearchPorts
from pipeline.settings import Settings


@contextmanager
def open_search_ports(settings: Settings, collection: str, *, model: str = "") -> Iterator[SearchPorts]:
    """Args: `model` is where the model file of the collection is now; "" for where it was."""
    with (
        wiring.open_index(settings) as index,
        wiring.open_ledger(settings) as ledger,
        wiring_audit.open_recording(settings) as log,
    ):
        found = index.get_collection(collection)
        searched = [found] if found is not None else []
        yield SearchPorts(
            store=wiring.open_store(settings),
            index=index,
            answers_to=Accountability(
                log=log,
                policies=ledger.policies,
                index=index,
                calibration=calibration_in(settings.calibration),
            ),
            models=LoadedOnDemand(
                index,
                wiring.model_loader(settings),
                requested=model or settings.model,
                else_own=not model,  # PICTOR_MODEL is for collections that are made
                precision=settings.precision,
                finder_of=partial(wiring.finder_of, settings=settings),
                load_texts=partial(wiring.load_texts, settings=settings),
            ),
            persons=ledger.persons,
            concurrency=wiring.concurrency_of(settings, wiring.load_of_searches(searched)),
        )
