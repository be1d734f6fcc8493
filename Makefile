# The commands of this project. `make` or `make help` lists them.
# They need python3 (3.11, 3.12 or 3.13), pip and make; everything else is installed into .venv from requirements.lock.

PYTHON ?= python3
PORT ?= 5000
ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin/python

# What another activated environment or a shell profile may leave behind must not reach this one.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT SPARK_HOME
export PYTHONNOUSERSITE := 1
# uv trusts the certificates that the system and pip trust, as behind a company's proxy.
export UV_SYSTEM_CERTS ?= 1
export JUPYTER_PREFER_ENV_PATH := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2
export MLFLOW_DISABLE_TELEMETRY ?= true
# A model logged from this folder must carry its own requirements, not this project's files.
export MLFLOW_UV_AUTO_DETECT ?= false
# Spark's Python workers run in this environment, not in whichever python3 comes first in PATH.
export PYSPARK_PYTHON := $(CURDIR)/$(VENV)/bin/python
export PYSPARK_DRIVER_PYTHON := $(PYSPARK_PYTHON)

.DEFAULT_GOAL := help
.PHONY: help install run bench test lint format notebooks lab mlflow tensorboard serve promote rollback score score-trial scale soak audit dev-store shopify-schema gpu lock clean clean-results

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

install: $(STAMP)  ## Create .venv, or bring it up to requirements.lock (the commands below do it too)

run: $(STAMP)  ## The whole workflow: notebooks 01 to 06, ending with a registered model (QUICK=1: less data)
	@$(RUN) -m scripts.ml.run_notebooks $(if $(filter-out 0 no false,$(QUICK)),--quick) $(ARGS)

bench: $(STAMP)  ## Measure speed against recommenders, 20 minutes; writes docs/benchmarks.* (ARGS="--only serving")
	@$(RUN) -m scripts.ml.benchmark $(ARGS)

test: $(STAMP)  ## All tests, in two processes (ARGS="-m 'not slow'" leaves the slow ones out)
	@$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP)  ## Style, types, and the direction of imports between the folders
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports

format: $(STAMP)  ## Format the code, and mend what the linter can mend
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

notebooks: $(STAMP)  ## Execute the notebooks in full and save their outputs in place, without machine paths
	@$(RUN) -m scripts.ml.run_notebooks --in-place --all $(ARGS)

lab: $(STAMP)  ## Open JupyterLab on the notebooks
	@$(RUN) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks $(ARGS)

mlflow: $(STAMP)  ## Open the local experiments and registered models (PORT=5000)
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(RUN) -m mlflow server \
		--backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT) --workers 1 $(ARGS)

tensorboard: $(STAMP)  ## Open the training curves under runs/
	@$(RUN) -m tensorboard.main --logdir runs $(ARGS)

serve: $(STAMP)  ## Recommendations over HTTP from the registry's champion (ARGS="runs/slirec/bundle --port 8000")
	@$(RUN) -m scripts.ml.serve $(ARGS)

promote: $(STAMP)  ## Make the newest registered version the champion, if it passes every gate
	@$(RUN) -m scripts.ml.promote $(ARGS)

rollback: $(STAMP)  ## Make the version that was champion before the champion again
	@$(RUN) -m scripts.ml.promote --rollback $(ARGS)

score: $(STAMP)  ## Rank for every known shopper, into runs/recommendations (ARGS="--engine spark")
	@$(RUN) -m scripts.ml.score_inventory runs/recommendations $(ARGS)

score-trial: $(STAMP)  ## 100,000 shoppers here and on Spark, a worker killed, compared row by row; writes docs/batch.*
	@$(RUN) -m scripts.ml.batch_trial $(ARGS)

scale: $(STAMP)  ## 20 million interactions preprocessed here and on Spark, compared row by row; writes docs/scale.*
	@$(RUN) -m scripts.ml.benchmark_scale $(ARGS)

soak: $(STAMP)  ## Load for 10 minutes, models switched, workers killed, the registry stopped; writes docs/soak.*
	@$(RUN) -m scripts.ml.soak $(ARGS)

audit: $(STAMP)  ## Known vulnerabilities of the locked packages, as PyPI reports them
	@$(VENV)/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip $(ARGS)

dev-store: $(STAMP)  ## Start a Shopify store of your own on this machine, to try the commands on (ARGS=--help)
	@$(RUN) -m scripts.shopify.dev_store $(ARGS)

shopify-schema: $(STAMP)  ## Fetch Shopify's published GraphQL schemas (needs npm), which some tests check against
	@$(RUN) -m scripts.shopify.fetch_schema

gpu: $(STAMP)  ## Add NVIDIA's CUDA libraries to .venv, to train on a GPU
	@$(RUN) -m uv pip install --python $(RUN) \
		"tensorflow[and-cuda]==$$(sed -n 's/^tensorflow==\([^ ]*\).*/\1/p' requirements.lock)"

lock: $(STAMP)  ## Write requirements.lock anew from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(RUN) -m uv pip compile pyproject.toml --extra dev --extra spark --extra datasets --extra snowplow --override overrides.txt --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links -o requirements.lock $(ARGS) > /dev/null

clean:  ## Remove .venv and the caches; data and results stay
	@rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .shopify-schema
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-results:  ## Remove generated data, runs and the local MLflow store, registered models included
	@if [ -f data/interactions.oracle.npz ] && [ ! -f data/interactions.tsv.state.parquet ]; then rm -f data/interactions.tsv data/interactions.oracle.npz; fi
	@rm -rf data/dataset data/quick data/dev_store* runs mlruns mlflow.db*

# The stamp is written last: an environment without it is unfinished and is built from scratch. uv installs in a fraction
# of pip's time; where it cannot (a mirror that only pip is set up for), pip does the same work. --no-deps, because the
# lock is complete and leaves out what recommenders declares but this project never imports (overrides.txt).
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "$(PYTHON) should be Python 3.11, 3.12 or 3.13. Received: $$($(PYTHON) --version 2>&1)." \
		"Name another one: make PYTHON=python3.11" >&2; exit 1; }
	@if [ -f $@ ] && $(RUN) -c '' 2>/dev/null; then rm -f $@; else \
		echo "Creating .venv from requirements.lock ..."; rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) > /dev/null 2>&1 || \
		{ rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); }; fi
	@set -e; export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	if $(RUN) -m pip --version > /dev/null 2>&1; then pip="$(RUN) -m pip"; \
	else pip="$(PYTHON) -m pip --python $(RUN)"; fi; \
	sed -n '/^uv==/,/[^\]$$/p' requirements.lock > $(VENV)/uv.lock; \
	if $$pip install --quiet --require-hashes --no-deps -r $(VENV)/uv.lock && \
		$(RUN) -m uv pip install --python $(RUN) --require-hashes --no-deps -r requirements.lock; then :; else \
		echo "uv could not install the packages; pip takes over, which needs a few minutes." >&2; \
		$$pip install --require-hashes --no-deps -r requirements.lock; fi; \
	$$pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
