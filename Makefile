# make demo   set up, train on real digits, serve the page
# make test   set up, run all tests
# make check  ruff and mypy

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PORT ?= 8080
# A short run for the demo: the default recipe alone takes a few minutes more and is more accurate.
DEMO_EPOCHS ?= 4

.PHONY: demo test check bench clean
demo: $(VENV)/.train
	@if $(BIN)/modelpad data mnist --json --sheet demo/mnist.png >/dev/null; then data=mnist; else data=uci-digits; fi; \
	echo "Training on $$data."; \
	$(BIN)/modelpad train digits --data $$data --epochs $(DEMO_EPOCHS) --store demo/store --runs demo/runs && \
	PORT=$(PORT) $(BIN)/modelpad serve digits --store demo/store

test: $(VENV)/.dev
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	for name in cold_start drawn_digits train_digits; do $(BIN)/python bench/$$name.py || exit 1; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
