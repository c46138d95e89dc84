#!/usr/bin/env bash
# huggingface_hub 2.4.0: a download that broke off begins at its first byte in the next run.
#
# Within one run the client asks for the rest of a file. When it gives up it removes what it has, so a large model over a
# poor line may never come whole. The script serves one file from this machine and cuts each answer off.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
cd "$place"
cat > cut_off.py <<'PYTHON'
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SIZE = 64 * 2**20
ANSWER = SIZE // 2  # the client keeps pieces of 10 MiB. Bytes of the first answer, after which the line is dead for the rest of the run
asked, sent = [], 0


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _head(self, first=0):
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"' + "a" * 64 + '"')
        self.send_header("X-Repo-Commit", "b" * 40)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(SIZE - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{SIZE - 1}/{SIZE}")
        self.end_headers()

    def do_HEAD(self):
        self._head()

    def do_GET(self):
        global sent
        if "/resolve/" not in self.path:
            self.send_error(404)
            return
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        asked.append(first)
        self._head(first)
        if not sent:
            sent = self.wfile.write(b"x" * ANSWER)
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

from huggingface_hub import hf_hub_download

runs = []
for _ in range(2):
    asked.clear()
    sent = 0
    try:
        hf_hub_download("acme/vit", "model.safetensors", cache_dir="cache")
    except Exception as err:
        runs.append((list(asked), type(err).__name__))
left = [path.stat().st_size for path in Path("cache").rglob("*.incomplete")]
for number, (firsts, error) in enumerate(runs, 1):
    print(f"run {number}: asked from byte {firsts[:3]}, {len(firsts)} requests, then {error}")
print(f"left of the file after the runs: {left or 'nothing'}")
assert runs[0][0][0] == 0 and max(runs[0][0]) > 0, "no rest is asked for within a run"
assert runs[1][0][0] == 0 and not left, "the second run goes on: this finding is out of date"
PYTHON
"$place/venv/bin/python" cut_off.py 2> errors || { tail -5 errors; exit 1; }
