# make demo          set up, run the whole job on rendered sample videos (or VIDEO_DIR=…), show what came out
# make test          set up, run the tests
# make lint          formatting, lint and types
# make bench         what splitting and embedding cost beside bare ffmpeg processes

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DIR ?= demo
VIDEO_DIR ?= $(DEMO_DIR)/videos
DEMO_OUT ?= $(DEMO_DIR)/out

.PHONY: setup demo test lint bench clean

setup: $(VENV)/.installed

# constraints.txt pins the versions that the tests ran with.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
ifeq ($(VIDEO_DIR),$(DEMO_DIR)/videos)
	$(BIN)/curator-dask samples $(VIDEO_DIR)
endif
	$(BIN)/curator-dask run --video-dir '$(VIDEO_DIR)' --output-path '$(DEMO_OUT)'

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks.transcode

clean:
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache build dist *.egg-info
