# make mini    the default experiment, from a fresh clone to its table
# make test    all tests
# make smoke   the whole workflow with toy sizes, in a minute and a half
# make mutants whether a fast test fails for each one-line change of a table (NAMES=... for some of it)
# make lint    formatting, types, and the workflow's own lint
# Each makes the environment in .venv first, when it is missing or when requirements.lock or pyproject.toml changed.

PYTHON ?= python3
BIN := .venv/bin
ENVIRONMENT := .venv/.complete
SNAKEMAKE := $(BIN)/snakemake --cores all --resources gpu=8

.PHONY: mini test mutants smoke lint
.DEFAULT_GOAL := mini

mini: $(ENVIRONMENT)
	$(SNAKEMAKE)
	@echo && cat results/mini/tables/main.md

smoke: $(ENVIRONMENT)
	$(SNAKEMAKE) --configfile config/smoke.yaml
	@echo && cat results/smoke/tables/main.md

# One thread a process: the tests already run side by side, those of a file on one worker, which share what it makes.
test: export OMP_NUM_THREADS = 1
test: $(ENVIRONMENT)
	$(BIN)/python -m pytest -n logical --dist loadfile

mutants: $(ENVIRONMENT)
	$(BIN)/python -m tests.mutants $(NAMES)

lint: $(ENVIRONMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# The stamp is written last, so that an environment that was cut off is completed by the next call.
$(ENVIRONMENT): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cocu needs Python 3.11 or later, and $(PYTHON) is not: make PYTHON=python3.12 ..."; exit 5; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. On Debian or Ubuntu: sudo apt-get install python3-venv"; exit 5; }
	@echo "Making the environment in .venv (some three minutes, 7 GB)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
