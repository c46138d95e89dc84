"""From settings to adapters: the only place that knows which adapter stands behind a port.

Adapters are imported inside the functions: `pictor --version`, or a client that only submits work, must not
pay seconds for torch and pymilvus, nor need them installed.
"""

from pipeline.wiring.backends import bench_backends, calibrate_model, fixed_backend, known_trials, pick_trial
from pipeline.wiring.concurrency import (
    concurrency_of,
    is_trained,
    limits_of,
    load_of_job,
    load_of_model,
    load_of_searches,
    trained_beside,
)
from pipeline.wiring.deps import embedded_deps
from pipeline.wiring.home import driver_here, job_locks, make_home
from pipeline.wiring.index import OpenIndex, make_index_users, open_index, open_index_of_loads
from pipeline.wiring.lazy_models import (
    finder_of,
    lazy_model,
    model_of_generation,
    models_beside,
    texts_beside,
    texts_of,
)
from pipeline.wiring.ledger import make_ledger_users, migrate_ledger, open_ledger
from pipeline.wiring.models import (
    list_face_networks,
    list_models,
    load_model,
    load_model_spec,
    load_texts,
    model_loader,
    pull_model,
)
from pipeline.wiring.stores import (
    MAX_WEIGHTS_BYTES,
    locate_file,
    make_place,
    make_store_users,
    open_s3,
    open_store,
    open_uploads,
    store_policy,
)

__all__ = [
    "MAX_WEIGHTS_BYTES",
    "OpenIndex",
    "bench_backends",
    "calibrate_model",
    "concurrency_of",
    "driver_here",
    "embedded_deps",
    "finder_of",
    "fixed_backend",
    "is_trained",
    "job_locks",
    "known_trials",
    "lazy_model",
    "limits_of",
    "list_face_networks",
    "list_models",
    "load_model",
    "load_model_spec",
    "load_of_job",
    "load_of_model",
    "load_of_searches",
    "load_texts",
    "locate_file",
    "make_home",
    "make_index_users",
    "make_ledger_users",
    "make_place",
    "make_store_users",
    "migrate_ledger",
    "model_loader",
    "model_of_generation",
    "models_beside",
    "open_index",
    "open_index_of_loads",
    "open_ledger",
    "open_s3",
    "open_store",
    "open_uploads",
    "pick_trial",
    "pull_model",
    "store_policy",
    "texts_beside",
    "texts_of",
    "trained_beside",
]
