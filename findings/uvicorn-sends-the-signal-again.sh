#!/usr/bin/env bash
# uvicorn 0.54.0: after a graceful stop by SIGTERM it sends SIGTERM to its own process, so nothing behind run() is done.
#
# The server answers what is in flight and ends well. Then the process is killed by the signal: `finally` and `with`
# around uvicorn.run() are not left, and the exit status says that it was killed. With SIGINT they are left.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0
cd "$place"
cat > serve.py <<'PYTHON'
import sys
from pathlib import Path

import uvicorn


async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    Path("started").touch()
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
    Path("stopped").touch()


try:
    uvicorn.run(app, port=0, log_level="error")
finally:
    Path(sys.argv[1]).touch()
PYTHON
for signal in TERM INT; do
    rm -f started stopped
    "$place/venv/bin/python" serve.py "left-by-$signal" 2>/dev/null & server=$!
    until [[ -e started ]]; do sleep 0.1; done
    kill -"$signal" $server
    status=0; wait $server || status=$?
    echo "SIG$signal: exit status $status, stopped gracefully: $(ls stopped), finally: $(ls "left-by-$signal" 2>/dev/null || echo "not run")"
done
[[ ! -e left-by-TERM && -e left-by-INT ]] || { echo "this finding is out of date"; exit 1; }
