# `make` sets up .venv; `make demo` and `make test` set it up and use it. Every target may be run again.
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The first Python of 3.10 to 3.12 at hand; PYTHON=... overrides it.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.10; do \
    "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$python" && break; done)

# nerfstudio looks for ffmpeg on the PATH, and setup may have put one into the environment.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup system test test-slow test-nightly lint format types demo clean

setup: $(STAMP)

system:
	@test -n "$(PYTHON)" || { echo "No Python 3.10, 3.11 or 3.12 found. On Debian 12: apt-get install python3; elsewhere: make PYTHON=/path/to/python3.12"; exit 20; }
	@"$(PYTHON)" scripts/check_system.py --install

$(STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory system
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "Installing into $(VENV): about 8 GB on disk, a few minutes."
	@$(PIP) -e ".[bench,dev]"
	@command -v ffmpeg >/dev/null || ln -sf "$$($(BIN)/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" $(BIN)/ffmpeg
	@touch $(STAMP)
	@echo "Ready. To use the commands by hand: source $(BIN)/activate"

test: setup
	@$(BIN)/python -m pytest

test-slow: setup
	@$(BIN)/python -m pytest -m slow

test-nightly: setup
	@$(BIN)/python -m pytest -m nightly

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python scripts/make_tables.py --check

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup
	@$(BIN)/pyright

demo: setup
	@$(BIN)/python scripts/demo.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
