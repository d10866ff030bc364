# Everything that is done with a checkout has one word here. Each target makes what it needs: Python 3.11 or newer is enough.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin

# The first of these that is new enough and can make virtual environments. `make PYTHON=/path/to/python3 …` overrides it.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11 python; do \
  $$each -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed ## Play one person's phones end to end; STAY=1 keeps everything up to try things.
	$(BIN)/bellhop demo $(if $(filter 1,$(STAY)),--stay)

.PHONY: test
test: $(VENV)/.installed-dev ## Run all tests; ARGS='-k fence' passes arguments to pytest.
	$(BIN)/pytest -n auto --dist loadfile --max-worker-restart 0 \
	  -o faulthandler_timeout=180 -o faulthandler_exit_on_timeout=true $(ARGS)

.PHONY: check
check: $(VENV)/.installed-dev ## Check style, types, imports, the contract and the freshness of its stubs.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking proto --against proto/baseline.binpb
	$(BIN)/pytest --quiet tests/rules/test_stubs.py

.PHONY: gen
gen: $(VENV)/.installed-dev ## Make the stubs anew from proto/.
	$(BIN)/python scripts/gen.py

.PHONY: docs
docs: $(VENV)/.installed-docs ## Build the documentation as a site in build/docs, from what is here alone.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

.PHONY: faults
faults: $(VENV)/.installed-dev ## Write docs/fault-matrix.md from the table that the tests play.
	$(BIN)/python -m tests.faults

.PHONY: bench
bench: $(VENV)/.installed-bench ## Measure, and print what docs/performance.md says; ARGS go to the benchmarks.
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: soak
soak: $(VENV)/.installed-dev ## Run what is too long for every day, and write docs/soak.md; ARGS='--rounds 2 kill'.
	$(BIN)/python -m tests.soak $(ARGS)

# What a target installs is remembered by a stamp, so that the second time costs nothing.
$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Bellhop needs Python 3.11 or newer with the venv module (Debian: python3-venv)," \
	  "and none is on the path. Name one: make PYTHON=/path/to/python3 …" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
