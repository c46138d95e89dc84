# Every target works on a fresh machine: it needs Python 3.11, make and, for `test` and `up`, Debian's apt with root.
PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
STACK_DIR ?= $(CURDIR)/.stack
IMAGES ?=
# Tests side by side: they wait more than they compute, so two cores bear three. Each has services of its own.
TEST_PROCESSES ?= 3

.PHONY: setup demo test test-outages test-bench test-unit bench lint format up down settings-doc clean

setup: $(VENV)/.installed

# pip reads exactly the committed versions; the stamp is renewed when they or the package's metadata change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON="; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# A generated gallery, or your own pictures with IMAGES=<folder>: ingest, search, and a page to look at.
demo: setup
	$(BIN)/pictor demo $(if $(IMAGES),--images '$(IMAGES)')

# All tiers against real services, which are installed when they are missing and stopped at the end.
test: setup
	$(PYTHON) -m devstack install
	$(BIN)/pytest -n $(TEST_PROCESSES) -m 'not outage and not repeat and not bench'

# Each service away for minutes, one by one, and what `test` shows once more on other data. Takes ten minutes and
# more, so it is not part of `test`.
test-outages: setup
	$(PYTHON) -m devstack install
	$(BIN)/pytest -m 'outage or repeat'

# Every benchmark's script in quick mode: six minutes for what no user runs, so it is not part of `test`.
test-bench: setup
	$(PYTHON) -m devstack install
	$(BIN)/pytest -m bench

test-unit: setup
	$(BIN)/pytest tests/unit tests/golden

# How fast it is, beside others: a quarter of an hour on two cores that have nothing else to do.
bench: setup $(BENCH_VENV)/.installed
	$(PYTHON) -m devstack install
	$(BIN)/python -m benchmarks

# Ray Data and Daft, which Pictor does not need. They see Pictor's torch, 5 GB, through a path file.
$(BENCH_VENV)/.installed: benchmarks/requirements-competitors.txt $(VENV)/.installed
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $(BENCH_VENV)/pictor.pth
	mv $(BENCH_VENV)/pictor.pth "$$($(BENCH_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: setup
	@$(PYTHON) -m devstack install
	@$(PYTHON) -m devstack up --flower --dir '$(STACK_DIR)'

down:
	@$(PYTHON) -m devstack down --dir '$(STACK_DIR)'

settings-doc: setup
	$(BIN)/python -m docs.make_settings
	$(BIN)/python -m docs.make_policies

clean:
	rm -rf $(VENV) $(BENCH_VENV) .venv-milvus demo-output build *.egg-info
