# make demo          set up, run the whole job on rendered sample videos (or VIDEO_DIR=…), show what came out
# make test          set up, run the tests, two files of them at a time (PROCESSES=1: one after the other)
# make lint          formatting, lint, types and the direction of imports
# make coverage      the tests, with the lines that no test runs
# make docs          build the documentation into site/; a warning is an error
# make dist          build the wheel and the source archive into dist/, check both, and try the wheel
# make bench         what splitting and embedding cost beside bare ffmpeg processes
# make faults        break runs on purpose, in every way that we know, and write docs/reliability.md; ROUNDS=20 is the full campaign
# make test-rapids   install RAPIDS beside it (about 9 GB; CUDA=13 for that), test what needs no GPU: names, signatures, cuML's host side
# make test-gpu      the same environment, the tests that need a GPU
# make bench-gpu     tests and benchmarks on a GPU into gpu-results/ (or $OUT), in parts of three minutes; PARTS='kernels models' runs some
# make rehearse-gpu  all of these without a GPU, with stand-ins and small sizes, into gpu-results/rehearsal

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RAPIDS_VENV ?= .venv-rapids
RAPIDS := $(RAPIDS_VENV)/bin
CUDA ?= 12
PARTS ?= all
PROCESSES ?= 2
ROUNDS ?= 2
FAULTS ?=
DEMO_DIR ?= demo
VIDEO_DIR ?= $(DEMO_DIR)/videos
DEMO_OUT ?= $(DEMO_DIR)/out

.PHONY: setup demo test lint coverage docs dist bench faults test-rapids test-gpu bench-gpu rehearse-gpu clean

setup: $(VENV)/.installed

# constraints.txt pins the versions that the tests ran with.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo 'Installing curator_dask and what it needs into $(VENV): several GB with torch, some minutes, once'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	@$(BIN)/python tools/install.py $(BIN)/python -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
ifeq ($(VIDEO_DIR),$(DEMO_DIR)/videos)
	$(BIN)/curator-dask samples $(VIDEO_DIR)
endif
	$(BIN)/curator-dask run --video-dir '$(VIDEO_DIR)' --output-path '$(DEMO_OUT)'

# A file stays in one process, so that what its tests share is made once. The order of the files is kept: sorted by number of tests, files of few slow tests come last.
test: setup
	$(BIN)/python -m pytest $(if $(filter-out 1,$(PROCESSES)),-n $(PROCESSES) --dist loadfile --no-loadscope-reorder)

lint: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

# The report is written also where tests fail.
coverage: setup
	$(BIN)/coverage erase
	status=0; $(BIN)/coverage run -m pytest || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$status

# The pages of commands and of the Python API are made from the code first.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m tools.reference_pages
	$(BIN)/python -m mkdocs build --strict

# The wheel is tried in a folder of its own, away from the source.
dist: $(VENV)/.installed-dist
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tools.try_wheel dist/*.whl

$(VENV)/.installed-%: $(VENV)/.installed
	@$(BIN)/python tools/install.py $(BIN)/python -c constraints.txt -e '.[$*]'
	touch $@

bench: setup
	$(BIN)/python -m benchmarks.transcode

faults: setup
	$(BIN)/python -m benchmarks.faults.run $(FAULTS) --rounds $(ROUNDS)

test-rapids: $(RAPIDS_VENV)/.installed
	$(RAPIDS)/python -m pytest tests/rapids -rs

test-gpu: $(RAPIDS_VENV)/.installed
	$(RAPIDS)/python -m pytest tests/gpu -rs

bench-gpu: $(RAPIDS_VENV)/.installed
	PYTHON=$(RAPIDS)/python benchmarks/gpu/run.sh $(PARTS)

rehearse-gpu: setup
	PYTHON=$(BIN)/python benchmarks/gpu/run.sh --rehearsal --out gpu-results/rehearsal $(PARTS)

# The same constraints: they are the versions that RAPIDS asks for.
$(RAPIDS_VENV)/.installed: pyproject.toml constraints.txt
	test -x $(RAPIDS)/python || $(PYTHON) -m venv $(RAPIDS_VENV)
	$(RAPIDS)/python -m pip install --quiet --upgrade 'pip>=24'
	$(RAPIDS)/python -m pip install --quiet -c constraints.txt -e '.[cuda$(CUDA),dev]'
	touch $@

clean:
	rm -rf $(VENV) $(RAPIDS_VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache .coverage* htmlcov build dist site *.egg-info
