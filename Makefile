# Everything runs inside .venv, made by the first target that needs it. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install retrain up down test check format lock bench soak clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv with every package pinned by constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "retrain needs Python 3.11 or later; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[offline,dev]'
	@touch $(STAMP)

retrain: $(STAMP) ## Bring the model up to date: the main job, on the embedded data set
	$(BIN)/retrain run

up: $(STAMP) ## Start a Prefect server, a worker and all deployments here, and say what to click
	$(BIN)/retrain up

down: $(STAMP) ## End what `make up` started
	$(BIN)/retrain down

test: $(STAMP) ## Run the tests
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

check: $(STAMP) ## Lint, check formats and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(STAMP) ## Kill runs at 50 random moments and compare what comes after with undisturbed bytes: about an hour
	$(BIN)/python -m tests.soak

bench: $(STAMP) ## Measure us beside what people do today, and print the ratios
	$(BIN)/python -m benchmarks

lock: $(STAMP) ## Write constraints.txt from what .venv holds
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean: ## Remove what stages wrote; the DVC cache keeps it
	rm -rf data/ingested data/splits data/tokens models plots metrics
