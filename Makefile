# Two commands for a stranger: `make run` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell $(python) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(python))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes

.PHONY: help run test check lint format parts test-kernels test-vllm bench lock clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Start the whole product on http://127.0.0.1:8080 (or TERN_PORT)
	@exec $(BIN)/python -m tern up

test: $(VENV)/.dev parts ## The whole suite on real PostgreSQL, Redis and RabbitMQ
	@$(BIN)/python -m pytest --ignore=tests/kernels --ignore=tests/vllm $(ARGS)
	@$(MAKE) --no-print-directory test-kernels

check: $(VENV)/.dev ## Format, lint, types, imports, house and docs
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

parts: ## Install the real servers with apt where they are missing
	@scripts/install_parts.sh

test-kernels: $(VENV)/.dev ## Kernels in Triton's interpreter, and compiled for four GPUs without one
	@kernels/triton/make_env.sh
	@cd kernels/triton && ../../$(BIN)/mypy --python-executable ../../.venv-torch/bin/python -p ternary_kernels -p bench
	@.venv-torch/bin/python -m pytest tests/kernels -m "not gpu" $(ARGS)

test-vllm: $(VENV)/.dev ## A real vLLM on the CPU serves ternary checkpoints through our plugin
	@kernels/triton/make_vllm_env.sh && .venv-vllm/bin/python -m pytest tests/vllm $(ARGS)

bench: $(VENV)/.dev parts ## Tern beside its peers: one table, one run
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/.dev ## Write requirements/*.txt anew from pyproject.toml, with hashes
	@scripts/lock.sh

clean: ## Remove environments and caches; keeps .tern, the state of `make run`
	@rm -rf $(VENV) .venv-torch .venv-vllm .bench .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "Tern needs Python 3.11 or newer; none was found on PATH." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is incomplete: on Debian or Ubuntu, apt-get install python3-venv." >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements/run.txt | $(VENV)/pyvenv.cfg
	@echo "Installing Tern's packages into $(VENV) ..."
	@$(PIP) -r requirements/run.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@$(PIP) -r requirements/dev.txt
	@touch $@
