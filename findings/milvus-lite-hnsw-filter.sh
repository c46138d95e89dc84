#!/usr/bin/env bash
# milvus-lite 3.2.2 with pymilvus 3.0.2: an HNSW search with a selective filter loses rows.
#
# 20,000 random vectors, HNSW (M 16, efConstruction 200), ef 100, limit 10 and a filter that exactly 20 rows pass.
# A good guess is 10 hits. Seen: 1 or 2 hits. Without an index (FLAT) the same search gives 10.
# A limit of 2,000 with a filter that 1,000 rows pass gave 549 and 555 hits instead of 1,000.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import time

import numpy as np
from pymilvus import DataType, MilvusClient

client = MilvusClient("rows.db")
vectors = np.random.default_rng(0).standard_normal((20_000, 16)).astype(np.float32)
query = [vectors[0].tolist()]


def hits(index_type, limit, below):
    name = f"rows_{index_type.lower()}"
    if not client.has_collection(name):
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=16)
        index = client.prepare_index_params()
        params = {"M": 16, "efConstruction": 200} if index_type == "HNSW" else {}
        index.add_index("vector", index_type=index_type, metric_type="COSINE", params=params)
        client.create_collection(name, schema=schema, index_params=index)
        for start in range(0, len(vectors), 2_000):
            rows = enumerate(vectors[start : start + 2_000], start)
            client.insert(name, [{"id": number, "vector": row.tolist()} for number, row in rows])
        client.flush(name)
        client.load_collection(name)
    ef = max(limit, 100)
    answer = client.search(name, query, limit=limit, filter=f"id < {below}", search_params={"params": {"ef": ef}})
    return len(answer[0])


flat = hits("FLAT", 10, 20)
deadline = time.monotonic() + 120  # the index is built in the background, and nothing tells when it is ready
while (hnsw := hits("HNSW", 10, 20)) == 10 and time.monotonic() < deadline:
    time.sleep(1)
wide = hits("HNSW", 2_000, 1_000)
print(f"20 rows pass, 10 asked for: FLAT {flat}, HNSW {hnsw}; 1,000 pass, 2,000 asked for: HNSW {wide}")
assert flat == 10, "the exact search changed"
assert hnsw < 10 and wide < 1_000, "HNSW keeps all rows under a filter now: this finding is out of date"
PYTHON
