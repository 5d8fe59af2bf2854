# Two commands are enough for a newcomer: `make demo` and `make test`. Each installs what it needs
# into .venv, once, from requirements.lock.
#
# PYTHON=/path/to/python3.12 chooses the interpreter; else the newest of 3.13 to 3.11 that works.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CANDIDATES := python3.13 python3.12 python3.11 python3 python
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --no-input
# Content, not time, decides whether .venv is stale: a checkout that only touches files costs nothing.
LOCKED := .venv/installed.lock
PROJECT := .venv/installed.toml
# In the order of the files: by itself xdist keeps those of a single test, which are the longest, for
# the end, when all labs run and only one of two processes still works.
IN_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
KERNEL := $(wildcard tasks/domain/ledger/_*.[ch])

# An interpreter is taken when it runs, is 3.11 to 3.13 and can make environments. A name on PATH
# proves nothing: version managers leave names there that answer with an error.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.PHONY: help demo gameday test test-all check bench bench-table clean template

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

demo: template ## the whole response, before your eyes, on an embedded system
	@$(BIN)/runbook demo --yes

gameday: template ## every scenario, two at once, and none at all; each judged (ARGS="--only 'api-*'")
	@$(BIN)/python -m deployments.lab.gameday $(ARGS)

test: template ## all tests but the slow ones
	@$(BIN)/python -m pytest -m "not slow" $(IN_PARALLEL)

test-all: template ## all tests
	@$(BIN)/python -m pytest $(IN_PARALLEL)

check: $(PROJECT) ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: template ## the benchmarks, one after the other, and their table (ARGS="-k ledger")
	@RUNBOOK_BENCH=1 $(BIN)/python -m pytest tests/benchmarks -m "slow or not slow" -rA --show-capture=no $(ARGS)

bench-table: $(PROJECT) ## the README's table of figures, from bench.json
	@$(BIN)/python -m tests.benchmarks.table

clean: ## remove all that make has made
	@rm -rf .venv .state build reports .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache *.egg-info tasks/domain/ledger/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Prefect's database, migrated and with our deployments applied, to be copied by each start. It
# looks itself whether lock, prefect.yaml and flows are still those that it was built from.
template: $(PROJECT)
	@$(BIN)/python -m deployments.lab.template

$(LOCKED): requirements.lock
	@if cmp -s requirements.lock $@; then touch $@; exit; fi; \
	python=$${PYTHON:-}; \
	for name in $(CANDIDATES); do \
	  [ -n "$$python" ] || { "$$name" -c '$(FITS)' >/dev/null 2>&1 && python=$$name; } || true; \
	done; \
	if [ -z "$$python" ] || ! "$$python" -c '$(FITS)' >/dev/null 2>&1; then \
	  echo "make: expected Python 3.11, 3.12 or 3.13 with venv and pip, found:" >&2; \
	  for name in $${PYTHON:-$(CANDIDATES)}; do \
	    echo "  $$name: $$("$$name" --version 2>/dev/null || echo 'does not run')" >&2; \
	  done; \
	  echo "Install one (Debian: apt-get install python3 python3-venv), or name it:" >&2; \
	  echo "  make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 1; \
	fi; \
	echo "Installing into .venv with $$("$$python" --version), once; this takes a few minutes."; \
	"$$python" -m venv --clear .venv; \
	$(PIP) install --quiet --quiet --require-hashes --no-deps -r requirements.lock; \
	$(PIP) check; \
	cp requirements.lock $@

# --no-deps above and below: the lock is complete, and nothing may be resolved a second time.
# Where no C compiler is the package installs without its kernel; `runbook doctor` says so.
$(PROJECT): pyproject.toml $(KERNEL) $(LOCKED)
	@if ! cat pyproject.toml $(KERNEL) | cmp -s - $@; then \
	  $(PIP) install --quiet --quiet --no-deps --no-build-isolation --editable .; \
	fi; \
	cat pyproject.toml $(KERNEL) >$@
