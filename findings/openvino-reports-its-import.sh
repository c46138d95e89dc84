#!/usr/bin/env bash
# openvino 2026.4.1: `import openvino` makes an id of the user in the home folder and sends an event to Google Analytics.
#
# Nobody is asked. A worker that computes embeddings then keeps a folder `intel` in its home, and opens connections that
# no network policy of its owner allows. The script replaces urlopen, so that nothing leaves your machine.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 openvino-telemetry==2025.2.0
cd "$place"
mkdir home
cat > importing.py <<'PYTHON'
import time
import urllib.parse
import urllib.request
from pathlib import Path

hosts = Path("hosts")


def urlopen(request, *rest, **named):
    """In the child process that openvino starts for it."""
    url = request if isinstance(request, str) else request.full_url
    hosts.write_text(urllib.parse.urlsplit(url).hostname)
    raise OSError("nothing leaves this machine")


urllib.request.urlopen = urlopen
import openvino

for _ in range(200):
    if hosts.exists() and hosts.read_text():
        break
    time.sleep(0.1)
print(openvino.__version__.split("-")[0], "sends to:", hosts.read_text() if hosts.exists() else "nobody")
PYTHON
unset CI  # it decides elsewhere what is sent
HOME="$place/home" "$place/venv/bin/python" importing.py | tee said
echo "in the home folder: $(cd home && find . -type f | sort | tr '\n' ' ')"
grep -q "google-analytics" said || { echo "no event is sent: this finding is out of date"; exit 1; }
[[ -s home/intel/openvino_ga_cid ]] || { echo "no id is written: this finding is out of date"; exit 1; }
