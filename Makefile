# make demo | test | dev | serve: each makes the virtual environment first if it is missing.

PYTHON ?= python3
SOURCE ?= sources/simulator.yaml
DATA ?=
WAREHOUSE ?= warehouse
PORT ?= 3000

BIN := .venv/bin
HOME_OF_SOURCE := $(WAREHOUSE)/$(basename $(notdir $(SOURCE)))

export FRAUD_SOURCE := $(SOURCE)
ifneq ($(DATA),)
export FRAUD_DATA := $(DATA)
endif
export FRAUD_WAREHOUSE := $(WAREHOUSE)
export DAGSTER_HOME := $(CURDIR)
export DAGSTER_STORAGE := $(HOME_OF_SOURCE)/dagster
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help venv demo test test-fast check bench dev serve mlflow lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

venv: .venv/installed ## the virtual environment, from the lock

.venv/installed: requirements.lock pyproject.toml
	@echo "Installing into .venv from requirements.lock: a few minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv ## raw data to served scores, every stage; SOURCE=… DATA=… for your own
	$(BIN)/fraud-platform demo

dev: venv ## the Dagster UI, http://127.0.0.1:3001
	@mkdir -p $(DAGSTER_STORAGE)
	$(BIN)/dagster dev -w workspace.yaml --host 127.0.0.1 --port 3001

serve: venv ## the scoring service from the latest Bento, http://127.0.0.1:3000
	BENTOML_HOME=$(abspath $(HOME_OF_SOURCE)/bentoml) $(BIN)/bentoml serve fraud_scoring:latest --host 127.0.0.1 --port $(PORT)

mlflow: venv ## the MLflow UI, http://127.0.0.1:5000
	$(BIN)/mlflow server --backend-store-uri sqlite:///$(abspath $(HOME_OF_SOURCE))/mlflow.db --host 127.0.0.1 --port 5000

test: venv ## every test
	$(BIN)/python -m pytest

# Each of the two workers has one core: OpenMP threads that wait for their turn on it spin.
test-fast: export OMP_NUM_THREADS := 1
test-fast: venv ## the unit tests, a minute on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not handbook and not browser"

check: venv ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

bench: venv ## the benchmarks, one JSON line each; after `make demo`
	$(BIN)/python benchmarks/definitions.py
	$(BIN)/python benchmarks/simulator.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/online.py
	$(BIN)/python benchmarks/parity.py --days 45
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/score.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/faults.py

lock: ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --quiet --output-file requirements.lock

clean: ## remove what was written for SOURCE; the virtual environment stays
	rm -rf $(HOME_OF_SOURCE)
