#!/usr/bin/env bash
# milvus-lite 3.2.2 with pymilvus 3.0.2: a filter with the modulo operator is refused.
#
# Milvus documents `%` among the arithmetic operators of filter expressions. Seen in Lite:
# code 6, "unexpected character '%'". So a filter that works on a server may be refused when it runs embedded.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
from pymilvus import MilvusClient, MilvusException

client = MilvusClient("rows.db")
client.create_collection("rows", dimension=4)
client.insert("rows", [{"id": number, "vector": [1.0, 0.0, 0.0, number]} for number in range(10)])
print("id < 5:", len(client.query("rows", filter="id < 5")), "rows")
try:
    rows = client.query("rows", filter="id % 2 == 0")
except MilvusException as error:
    print("id % 2 == 0:", error)
    assert "unexpected character '%'" in str(error), "it fails in another way now"
else:
    raise SystemExit(f"{len(rows)} rows: this finding is out of date")
PYTHON
