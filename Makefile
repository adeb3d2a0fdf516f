# ChatKit's commands. `make help` lists them; each does its own set-up and is quick when nothing changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# The first Python on this machine that is new enough; `make PYTHON=... setup` takes another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
# Node and npm are a wheel in the virtual environment, so everything that calls them must find that one first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Only pinned and hashed packages are installed; a half-written download is never mistaken for a whole one.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
SAY := printf '\033[1m%s\033[0m\n'
WIDGET := server/static/widget/chatkit.js
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

.PHONY: setup
setup: $(VENV)/run.stamp $(WIDGET) ## Install what run and test share, and build the widget

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "ChatKit needs Python 3.11 or newer; none was found. Install it, or name one: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; }
	@$(SAY) "Making a virtual environment with $$($(PYTHON) --version)"
	@$(PYTHON) tests/system.py venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt | $(VENV)/bin/python
	@$(SAY) "Installing the server's packages (once; about a minute)"
	@$(PIP) -r $<
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	@$(SAY) "Installing the tests' packages (once)"
	@$(PIP) -r $<
	@touch $@

widget/node_modules/.stamp: widget/package-lock.json widget/.npmrc $(VENV)/run.stamp
	@$(SAY) "Installing the widget's packages (once)"
	@npm --prefix widget ci --no-audit --no-fund --loglevel=error
	@touch $@

$(WIDGET): widget/node_modules/.stamp widget/build.mjs $(shell find widget/src -type f 2>/dev/null)
	@$(SAY) "Building the widget"
	@npm --prefix widget run --silent build

$(VENV)/extras.stamp: requirements/extras.txt $(VENV)/run.stamp
	@$(SAY) "Installing the packages for PostgreSQL, Redis and embeddings (once)"
	@$(PIP) -r $<
	@touch $@

.PHONY: extras
extras: setup $(VENV)/extras.stamp ## Install what PostgreSQL, Redis and embeddings need

.PHONY: run
run: setup ## Set up and serve the demo page at http://127.0.0.1:8000
	@$(VENV)/bin/python -m server ingest --if-empty README.md docs
	@HOST=$(HOST) PORT=$(PORT) exec $(VENV)/bin/python -m server

.PHONY: test
test: setup $(VENV)/dev.stamp ## Set up and run every test
	@$(VENV)/bin/python tests/system.py install
	@npm --prefix widget run --silent test
	@$(VENV)/bin/python -m pytest

.PHONY: check
check: setup $(VENV)/dev.stamp ## Format, lint, types and import contracts
	@ruff format --check .
	@ruff check .
	@mypy
	@npm --prefix widget run --silent check
	@lint-imports --no-logo

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/dev.stamp
	@$(SAY) "Installing the packages that the benches compare with (once)"
	@$(PIP) -r $<
	@touch $@

.PHONY: bench
bench: setup $(VENV)/bench.stamp ## Measure start-up, questions, events and requests, side by side
	@$(VENV)/bin/python -m tests.bench

.PHONY: faults
faults: setup $(VENV)/dev.stamp ## Break it hundreds of times: kill, power cut, full, hung and dying disks (needs root)
	@$(VENV)/bin/python tests/system.py install
	@FAULTS=long $(VENV)/bin/python -m pytest tests/faults tests/server/test_workers.py --timeout 1800

.PHONY: load
load: setup $(VENV)/dev.stamp ## Send locust's visitors to a running server (URL=, USERS=, SECONDS=)
	@$(VENV)/bin/python -m tests.load --url "$(or $(URL),http://127.0.0.1:8000)" --users "$(or $(USERS),20)" --seconds "$(or $(SECONDS),30)"

.PHONY: lock
lock: $(VENV)/run.stamp ## Pin every package again, with hashes, from pyproject.toml
	@$(PIP) -r requirements/lock.txt
	@compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command 'make lock' --upgrade "$$@" > /dev/null; }; \
	compile pyproject.toml --all-extras --group dev -o requirements/dev.txt; \
	compile pyproject.toml --group build -c requirements/dev.txt -o requirements/run.txt; \
	compile pyproject.toml --all-extras --group build -c requirements/dev.txt -o requirements/extras.txt; \
	compile --group bench -c requirements/dev.txt -o requirements/bench.txt; \
	compile --group lock -o requirements/lock.txt
