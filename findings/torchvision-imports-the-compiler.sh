#!/usr/bin/env bash
# torch 2.14.1 with torchvision 0.29.1: `import torchvision` loads the compiler of torch.
#
# `torchvision/ops/roi_align.py` imports `torch._dynamo.utils` for one test. That costs a second of CPU and 150 MB in each
# process, also where nothing is compiled.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
cd "$place"
for what in torch torchvision; do
    "$place/venv/bin/python" - "$what" <<'PYTHON'
import importlib, resource, sys

before = resource.getrusage(resource.RUSAGE_SELF)
importlib.import_module(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
has_compiler = "torch._dynamo" in sys.modules
print(f"{sys.argv[1]}: {seconds:.1f} s of CPU, {after.ru_maxrss // 1024} MB, compiler loaded: {has_compiler}")
assert has_compiler == (sys.argv[1] == "torchvision"), "this finding is out of date"
PYTHON
done
