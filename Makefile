# Every target sets itself up: the first one on a fresh machine creates .venv and installs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test docs test-lowest torture check format lint types benchmark clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/dnazen demo --output demo --overwrite

test: $(READY)
	$(BIN)/python -m pytest

# The documentation site, in site/; a broken link or a missing page fails.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The model's and the jobs' tests on the oldest versions that are supported.
LOWEST := .venv-lowest/bin
LOWEST_TESTS := model inference training search

test-lowest: .venv-lowest/.ready
	$(LOWEST)/python -m pytest -W "ignore:mtime may not be reliable" \
	    $(LOWEST_TESTS:%=tests/%)

.venv-lowest/.ready: pyproject.toml constraints.txt constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(LOWEST)/python -m pip install --quiet --requirement constraints-lowest.txt
	touch $@

# Kills at any call and damaged files, seeded; a short part of it is in the tests.
torture: $(READY)
	$(BIN)/python tests/torture.py --trials 1000

check: $(READY) format lint types test

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

benchmark: $(READY)
	$(BIN)/python benchmarks/ggrams.py
	$(BIN)/python benchmarks/model.py

clean:
	rm -rf .venv .venv-lowest demo site
