# Everything runs inside .venv, made by the first target that needs it. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# also what builds the one package that comes without a wheel
PINNED := --constraint constraints.txt --build-constraint constraints.txt
TOOLS := $(VENV)/tools
PYTEST := $(BIN)/python -m pytest --dist worksteal
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install retrain up down test test-all check format lock audit bench soak clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv with every package pinned by constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "retrain needs Python 3.11 or later; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(PINNED) --editable '.[offline,dev]'
	@touch $(STAMP)

retrain: $(STAMP) ## Bring the model up to date: the main job, on the embedded data set
	$(BIN)/retrain run

up: $(STAMP) ## Start a Prefect server, a worker and all deployments here, and say what to click
	$(BIN)/retrain up

down: $(STAMP) ## End what `make up` started
	$(BIN)/retrain down

test: $(STAMP) ## Run the tests but the slow ones: about twelve minutes on two cores
	$(PYTEST) --numprocesses logical --maxprocesses 4 -m 'not slow'

# three at once on two cores too: they wait for clocks and servers more than they compute
test-all: $(STAMP) ## Run the slow ones: browser, PostgreSQL, SSH, S3, schedules, attacks, kills
	$(PYTEST) --numprocesses 3 -m slow

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

lock: $(STAMP) $(TOOLS) ## Write constraints.txt from what .venv holds, and the same with hashes
	@{ sed -n '/^#/p' constraints.txt; { sed -n '/^setuptools==/p' constraints.txt; $(BIN)/pip freeze --all --exclude-editable \
		| sed 's/+cpu$$//'; } | sort -fu; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	$(TOOLS)/bin/uv pip compile --quiet --universal --no-deps --generate-hashes --no-emit-package torch --no-header --no-annotate \
		constraints.txt --output-file deploy/requirements-hashed.txt

audit: $(TOOLS) ## Ask for known vulnerabilities of every package in constraints.txt; fail when one of them cannot be asked about
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

$(TOOLS):
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 uv==0.13.9

clean: ## Remove what stages wrote; the DVC cache keeps it
	rm -rf data/ingested data/splits data/tokens models plots metrics
