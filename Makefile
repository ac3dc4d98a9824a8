# Everything runs from .venv, which is made from the hashed lock. Relative paths only: the folder may have spaces in its name.
.DEFAULT_GOAL := help
.PHONY: help demo run stop test check lint bench gauntlet clean
PYTHON ?= python3
ONLY ?=
N ?=
SEED ?=
MINUTES ?=
export PYTHONPATH :=

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Facet needs Python 3.11 or newer; this is %d.%d. Choose another: make PYTHON=python3.11" % sys.version_info[:2])'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch .venv/ready

demo: .venv/ready  ## the main job on a simulated datacenter, then stay (ONCE=1: stop after the job)
	@.venv/bin/python -m facet.embedded demo $(if $(filter 1,$(ONCE)),--once)

run: .venv/ready  ## the stack, empty; Ctrl-C stops it
	@.venv/bin/python -m facet.embedded run

stop: .venv/ready  ## stop the stack of this FACET_HOME
	@.venv/bin/python -m facet.embedded stop

test: .venv/ready  ## all tests; prints how many promises are open
	@.venv/bin/pytest -n 2 --dist loadfile -rs; status=$$?; .venv/bin/python -m tests.promises; exit $$status

check: lint  ## all that must hold before a commit: lint, and the fast tests
	.venv/bin/pytest -n 2 --dist loadfile -rs -m "not slow"

lint: .venv/ready  ## format, lint, types, import contracts, migrations
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@FACET_ALLOW_EPHEMERAL_KEY=1 .venv/bin/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

bench: .venv/ready  ## measure (ONLY=ledger|vsphere|clusters|console|engine)
	@.venv/bin/python -m tests.bench $(ONLY)

gauntlet: .venv/ready  ## race and kill processes on the ledger (N=8 SEED= MINUTES=2); fails on the first broken law
	@.venv/bin/python -m tests.gauntlet $(if $(N),--clients $(N)) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

clean:  ## remove what was built; .facet (your data) stays
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
