# `make demo`, `make unit` and `make test` start from nothing but Python 3.11 and pip.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo install format check unit test e2e faults chaos bench screenshots secrets compose-test clean

# The notebook's comparison, trained here.
demo: .venv/runs
	$(BIN)/dq demo

install: .venv/develops

# What is installed is what constraints.txt says was tested.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.venv/runs: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[worker]'
	touch $@

.venv/develops: .venv/runs
	$(PIP) --editable '.[worker,dev]'
	touch $@

.venv/benches: .venv/develops
	$(PIP) --editable '.[worker,dev,bench]'
	touch $@

# There are wheels of hadolint for these alone.
MACHINE := $(shell uname -m)
HADOLINT := $(if $(filter x86_64 aarch64 arm64,$(MACHINE)),$(BIN)/hadolint,@echo skipped: no hadolint for $(MACHINE), which would look at)

# Formats, and mends what ruff can mend.
format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# A minute: format, lint, import rules, types, the compose files and the Dockerfile.
check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.hosts.yml
	$(HADOLINT) Dockerfile

# xdist gives whole files to two processes, in the order of tests/conftest.py: the long ones first.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Half a minute: what needs neither a server nor a worker, but for the slow ones.
unit: install
	$(PYTEST) -m "not slow" tests/unit

# Minutes: everything on real servers, workers and terminals, but the long ones. What CI runs.
test: install
	$(PYTEST) -m "not compose and not long" --ignore tests/faults --ignore tests/compose --ignore tests/e2e

# The pages in Debian's chromium (apt-get install chromium), pictures in build/e2e.
e2e: install
	$(BIN)/pytest tests/e2e

# The pictures of docs/web.md, by the same chromium.
screenshots: install
	$(BIN)/python docs/screenshots.py

# Each fault on real worker processes, one after the other, the long storms, and more examples of
# what is drawn at random; many minutes.
faults: install
	$(BIN)/pytest tests/faults tests/chaos
	$(PYTEST) --hypothesis-profile thorough -m hypothesis tests/unit tests/integration
	$(BIN)/pytest --hypothesis-profile thorough tests/integration/test_web_schema.py

# 300 real jobs under minutes of kill -9, wiped Redis, crashed PostgreSQL; CHAOS="--seed 7" repeats one.
chaos: install
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

# A million jobs, ten thousand submits, verdicts on known truths: writes bench/RESULTS.md.
bench: .venv/benches
	$(BIN)/python -m bench

# The passwords of docker-compose.yml, each made once.
secrets:
	deploy/make-secrets

# The whole stack in containers, used as everywhere and struck; needs a Docker engine, and says so
# where there is none. COMPOSE=docker-compose or COMPOSE="docker compose" picks one of two.
compose-test: install
	$(BIN)/pytest -m compose tests/acceptance tests/compose

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
