# From a fresh clone each target first sets up .venv (some minutes); later calls start at once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test testall check lint types layers docstrings bench docs lock clean

help: ## show this list
	@grep -E '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(READY) ## fit a model to texts and one to images, from data that come with Python
	$(BIN)/headstart demo

test: $(READY) ## run the tests, two processes of one thread each; the slow ones are in testall
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow"

testall: $(READY) ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

check: lint types layers docstrings ## lint, formatting, types, layers and docstrings; with -k all of them after a failure

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

# Arguments that do not exist, and raises without a Raises section; pydoclint cannot be told to look for these alone.
docstrings: $(READY)
	! $(BIN)/pydoclint --style=google --arg-type-hints-in-docstring=False --check-class-attributes=False \
		--skip-checking-private-functions=True --show-filenames-in-every-violation-message=True --quiet src 2>&1 \
		| grep -E 'DOC(102|501)'

bench: $(READY) ## measure again what the documentation claims (minutes to an hour)
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(READY) ## run every code block of the documentation
	$(BIN)/pytest tests/docs

# Libraries that torch pins itself are left to it: they differ between systems.
lock: $(READY) ## write the versions in .venv to requirements.lock
	$(BIN)/pip list --format=freeze --exclude-editable --disable-pip-version-check \
		| grep -vE '^(pip|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' > requirements.lock

clean: ## remove .venv and what tools left behind
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("headstart needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
