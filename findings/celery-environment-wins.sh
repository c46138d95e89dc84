#!/usr/bin/env bash
# celery 5.7.0: CELERY_BROKER_URL and CELERY_RESULT_BACKEND of the environment win over what an application was told.
#
# An application that is given its broker as an argument, and its backend in its configuration, connects to the ones of
# the environment. So a client library inside a service that has a Celery of its own publishes to that service's broker.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check celery==5.7.0
cd "$place"
cat > told.py <<'PYTHON'
from celery import Celery

app = Celery("told", broker="memory://ours")
app.conf.update(broker_url="memory://ours", result_backend="cache+memory://")
print(app.connection_for_write().as_uri(), app.conf.result_backend)
PYTHON
alone=$("$place/venv/bin/python" told.py)
beside=$(CELERY_BROKER_URL=memory://theirs CELERY_RESULT_BACKEND=rpc:// "$place/venv/bin/python" told.py)
echo "alone:               $alone"
echo "with the variables:  $beside"
[[ $alone == *ours* && $alone == *cache+memory* ]] || { echo "not what was told even without the variables"; exit 1; }
[[ $beside == *theirs* && $beside == *rpc* ]] || { echo "the variables do not win: this finding is out of date"; exit 1; }
