# Understudy: what a newcomer or a developer runs. `make` alone lists it.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run install test test-fast lint format clean

# Where it is set, every process would compile all it imports: half a second to two.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PYTHON_BIN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
# PIP_ARGS and ARGS pass options on: make install PIP_ARGS='--no-index --find-links wheels'
PIP := $(PYTHON_BIN) -m pip --disable-pip-version-check install $(PIP_ARGS)
# tests/conftest.py says which tests stay by themselves. After a crash pytest-xdist waits for ever where it may
# restart a process: it ends the run and names the test instead. ARGS='-n 0' runs all in one process, for -s and --pdb.
BESIDE_EACH_OTHER := --numprocesses logical --maxprocesses 4 --max-worker-restart 0

help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED) ## Install what is missing, then serve on http://localhost:8080 (make run ARGS='--port 9000')
	@exec $(VENV)/bin/understudy serve $(ARGS)

install: $(INSTALLED) ## Make .venv with the understudy command in it

test: $(INSTALLED_TEST) ## Run every test, browsers included (make test ARGS='-k targets')
	@scripts/system_packages.sh browser
	@scripts/system_packages.sh relay
	@scripts/system_packages.sh redis
	$(PYTHON_BIN) -m pytest $(BESIDE_EACH_OTHER) $(ARGS)

test-fast: $(INSTALLED_TEST) ## Run every test that needs no browser
	@scripts/system_packages.sh redis
	$(PYTHON_BIN) -m pytest $(BESIDE_EACH_OTHER) -m 'not e2e' $(ARGS)

lint: $(INSTALLED_TEST) ## Check style, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED_TEST) ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## Remove .venv and everything made by a build or a test run
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Installed anew only when the dependencies or the way of installing change. What tests need includes the rest.
INSTALLS_FROM := pyproject.toml scripts/create_venv.sh scripts/system_packages.sh
define install
	@scripts/create_venv.sh $(VENV)
	$(PIP) $(COMPILED) --editable '.[$(EXTRAS)]'
	@echo 'Compiling what draws faces ...'
	@$(PYTHON_BIN) -m compileall -q client models server signaling
	@$(PYTHON_BIN) -m models.precompile
	@scripts/system_packages.sh runtime
endef

$(INSTALLED): EXTRAS := openvino
$(INSTALLED): $(INSTALLS_FROM)
	$(install)
	@touch $@

# To compile all of it takes a minute, and much is never imported: Python compiles the rest as it goes.
$(INSTALLED_TEST): COMPILED := --no-compile
$(INSTALLED_TEST): EXTRAS := test,train,evaluation,openvino,postgres,ray
$(INSTALLED_TEST): $(INSTALLS_FROM)
	$(install)
	@touch $(INSTALLED) $@
