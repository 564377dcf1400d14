# Everything is set up under .venv and .lab; nothing outside the checkout is touched.
.PHONY: setup up down mesh mesh-down test check bench

PYTHON ?= python3
STAMP := .venv/.requirements
IN_LAB = . .lab/env &&

setup: $(STAMP)
	@.venv/bin/python -m lab.setup

$(STAMP): requirements.txt requirements-dev.txt requirements-lab.txt
	@$(PYTHON) -c 'import sys; sys.exit("setup: Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check -r requirements-lab.txt
	@touch $@

# The program on the local cloud, until it has converged.
up: setup
	@$(IN_LAB) .venv/bin/python -m lab.up

# The cluster of the local cloud, of real programs, behind what `make up` has built.
mesh: up
	@$(IN_LAB) .venv/bin/python -m lab.mesh up

mesh-down:
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m lab.mesh down; fi

# Leaves nothing running and nothing of the local cloud; what was built stays.
down: mesh-down
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m lab.down; fi

check: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy .

test: check
	@.venv/bin/pytest

bench: setup
	@$(IN_LAB) .venv/bin/python -m bench
