# make quickstart   set up, then the main job end to end on generated pictures
# make test         set up, then the tests
# make test-extra   what is slow or needs more than .venv: long fuzzing, Apache Beam, MediaPipe, a browser
# make check        what CI checks before the tests: lint, format, types, layers, generated protos
# make protos       regenerate the *_pb2.py and *_pb2.pyi from the .proto files
# make lock         write requirements.lock from pyproject.toml (UPGRADE=--upgrade for newer versions)
# make clean        remove the environment and everything generated

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-extra check lint types layers protos protos-current lock clean

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV ?= .venv
TEST_WORKERS ?= 2
UPGRADE ?=

BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
BEAM = build/beam
BEAM_INSTALLED = $(BEAM)/.installed
MEDIAPIPE = build/mediapipe
MEDIAPIPE_INSTALLED = $(MEDIAPIPE)/.installed

help:
	@sed -n 's/^# //p' Makefile

install: $(INSTALLED)

$(INSTALLED): requirements.lock
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "error: Python 3.11, 3.12 or 3.13 is needed, found '$(PYTHON)'; name one with PYTHON=/path/to/python3.11" >&2; exit 1; }
	@total=$$(grep -c '^[a-z]' $<); echo "Installing $$total packages into $(VENV): about two minutes and 4 GB, once"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --no-deps --progress-bar off --disable-pip-version-check -r $< 2> $(VENV)/pip.log \
	  | awk '/^(Collecting|Processing)/ && ++n % 20 == 0 { print "  " n " found"; fflush() } /^Installing/ { print "  unpacking"; fflush() }' \
	  || { tail -n 20 $(VENV)/pip.log >&2; exit 1; }
	@touch $@

quickstart: $(INSTALLED)
	@$(BIN)/python -m pipelines.quickstart --output_dir runs/quickstart

test: $(INSTALLED)
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -q

# Beam has an environment of its own: .venv stays as it is locked, and the test without TensorFlow is the stricter one.
test-extra: $(INSTALLED) $(BEAM_INSTALLED) $(MEDIAPIPE_INSTALLED)
	@$(BIN)/python -m pytest -q tests/extra --ignore tests/extra/test_beam.py
	@$(BEAM)/bin/python -m pytest -q tests/extra/test_beam.py

$(BEAM_INSTALLED): tests/extra/beam-requirements.txt
	@rm -rf $(BEAM) && $(PYTHON) -m venv $(BEAM)
	@$(BEAM)/bin/python -m pip install --quiet --progress-bar off --disable-pip-version-check -r $<
	@touch $@

# MediaPipe too: it runs our files in a process without our packages, as an app would.
$(MEDIAPIPE_INSTALLED): tests/extra/mediapipe-requirements.txt
	@rm -rf $(MEDIAPIPE) && $(PYTHON) -m venv $(MEDIAPIPE)
	@$(MEDIAPIPE)/bin/python -m pip install --quiet --progress-bar off --disable-pip-version-check -r $<
	@touch $@

check: lint types layers protos-current

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED)
	@$(BIN)/pyright --pythonpath $(BIN)/python

layers: $(INSTALLED)
	@$(BIN)/lint-imports

protos: $(INSTALLED)
	@$(BIN)/python -m object_detection_ext.protos.generate

protos-current: $(INSTALLED)
	@$(BIN)/python -m object_detection_ext.protos.generate --check

lock:
	@$(PYTHON) -m venv build/uv && build/uv/bin/python -m pip install -qq --disable-pip-version-check uv==0.9.30
	@build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev $(UPGRADE) \
	  --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	@echo "requirements.lock: $$(grep -c '^[a-z]' requirements.lock) packages"

clean:
	@rm -rf $(VENV) build dist runs .pytest_cache .ruff_cache .import_linter_cache *.egg-info
