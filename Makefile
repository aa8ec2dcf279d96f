# On a machine with Python 3.10 or newer, `make quickstart` and `make test` do everything, set-up included.
#
#   make test PYTHON=python3.12      with another interpreter
#   make test VENV=/tmp/multinas     with a virtual environment in another place

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# Packages are installed without compiling them ahead. Where this is set, every process would compile torch and Ray anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install quickstart test check format lint types imports docs docs-serve found fast cluster clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed-all ## make the virtual environment with everything for development

quickstart: $(VENV)/installed-demo ## find, train, export and report 4 networks for handwritten digits (minutes, on a CPU)
	$(BIN)/python experiments/quickstart.py

test: $(VENV)/installed-all ## run every check and test, as the continuous integration does
	$(MAKE) -j 2 check docs found
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest -m "not by_hand and not campaign" -n 3 --dist loadfile --durations=30

# What they import is compiled then, once: the processes of the tests would all do it at the same time.
found: $(VENV)/installed-all ## find all tests, without running them
	$(BIN)/pytest --collect-only -qq

check: lint format types imports ## run the checks that need no test: ruff, mypy and import-linter

lint: $(VENV)/installed-all
	$(BIN)/ruff check .

format: $(VENV)/installed-all
	$(BIN)/ruff format --check .

# The last numpy and pandas for Python 3.10 have types of another age: there mypy's strict rules cannot be met.
# mypy gives its workers 3 seconds to start. On a busy machine it then ends with status 2, and does without them.
types: $(VENV)/installed-all
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; \
		then echo mypy; $(BIN)/mypy || { test $$? = 2 && $(BIN)/mypy --num-workers 0; }; \
		else echo 'mypy is left out: it needs Python 3.11 or newer'; fi

imports: $(VENV)/installed-all
	$(BIN)/lint-imports

docs: $(VENV)/installed-all ## build the documentation site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/installed-all ## show the documentation site at http://127.0.0.1:8000 while you edit it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# Three on two cores: one may wait for the disk or for processes that it has started.
fast: $(VENV)/installed-all ## run the tests that are quick and start no Ray
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not cluster and not slow and not by_hand and not campaign" -n 3 --dist loadfile --durations=15

# Idle threads give their core away there, since two tests and all processes of their Rays share the cores.
cluster: $(VENV)/installed-all ## run the slow tests, and those that start (and kill) a real local Ray
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest -m "(cluster or slow) and not by_hand and not campaign" -n 2 --dist loadfile --durations=15

clean: ## remove the virtual environment, caches and the built site; results in runs/ stay
	rm -rf .venv site build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# A stamp tells which extras are installed; a change of these files installs again. Python compiles what is used when
# it is first imported; compiling all of it at once, as pip does otherwise, takes a minute or more.
$(VENV)/installed-demo: EXTRAS = demo
$(VENV)/installed-all: EXTRAS = demo,docs,tests
$(VENV)/installed-demo $(VENV)/installed-all: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'Python 3.10 or newer is needed; name one: make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv --upgrade-deps $(VENV) # the newest pip: those of older Pythons take minutes to resolve
