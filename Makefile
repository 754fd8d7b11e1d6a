# `make` sets up .venv; `make demo` and `make test` set it up and use it. Every target may be run again.
VENV ?= .venv
BIN := $(VENV)/bin
AUDIT ?= .venv-audit
NEWEST ?= .venv-newest
STAMP := $(VENV)/.installed
# In a terminal pip tells how far it is; elsewhere it is quiet.
QUIET := $(shell test -t 2 || echo --quiet)
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install $(QUIET) --disable-pip-version-check -c constraints.txt

# The first Python of 3.10 to 3.12 at hand; PYTHON=... overrides it.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.10; do \
    "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$python" && break; done)

# nerfstudio looks for ffmpeg on the PATH, and setup may have put one into the environment.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup system test test-slow test-nightly audit newest lint format types wheel demo clean docs docs-pictures

setup: $(STAMP)

system:
	@test -n "$(PYTHON)" || { echo "No Python 3.10, 3.11 or 3.12 found. On Debian 12: apt-get install python3; elsewhere: make PYTHON=/path/to/python3.12"; exit 20; }
	@"$(PYTHON)" scripts/check_system.py --install

$(STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory system
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "Installing into $(VENV): about 8 GB on disk, a few minutes."
	@$(PIP) -e ".[bench,dev,docs]"
	@command -v ffmpeg >/dev/null || ln -sf "$$($(BIN)/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" $(BIN)/ffmpeg
	@touch $(STAMP)
	@echo "Ready. To use the commands by hand: source $(BIN)/activate"

test: setup
	@$(BIN)/python -m pytest

test-slow: setup
	@"$(PYTHON)" scripts/check_system.py --install --tests
	@$(BIN)/python -m pytest -m slow

# The longest tests, and docs/reliability.md from what they counted. Commit first: the page names the commit.
test-nightly: setup
	@$(PIP) -e ".[bench,dev,docs,fuzz]"
	@$(BIN)/python -m pytest -m nightly tests/fuzz --tally outputs/reliability-inputs.json
	@$(BIN)/python -m pytest -m nightly tests/faults --tally outputs/reliability-kills.json
	@$(BIN)/python -m pytest -m nightly tests/vnp_core tests/vnp_nerf --tally outputs/reliability-training.json
	@$(BIN)/python -m pytest -m "fault or equivalence" --tally outputs/reliability-faults.json
	@cp outputs/reliability-*.json docs/results/
	@$(BIN)/python scripts/make_tables.py

# Known weaknesses of the exact versions in constraints.txt; asks a database on the internet.
audit:
	@test -x $(AUDIT)/bin/pip-audit || { "$(PYTHON)" -m venv --clear $(AUDIT) && $(AUDIT)/bin/pip install --quiet pip-audit; }
	@$(AUDIT)/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# The tests under the newest versions that pyproject.toml allows, in an environment of its own (8 GB on disk).
newest:
	@"$(PYTHON)" -m venv --clear $(NEWEST)
	@$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e ".[bench,dev]"
	@$(NEWEST)/bin/python -m pip list --disable-pip-version-check --format freeze
	@test -x $(NEWEST)/bin/ffmpeg || ln -sf "$$($(NEWEST)/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" $(NEWEST)/bin/ffmpeg
	@PATH="$(abspath $(NEWEST)/bin):$$PATH" $(NEWEST)/bin/python -m pytest

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python scripts/make_tables.py --check

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup
	@$(BIN)/pyright

# An sdist, and the wheel that is built out of it, in dist/.
wheel: setup
	@$(BIN)/python -m build --no-isolation --outdir dist .

# The site, outputs/site/index.html. Any warning is an error. It needs no network, neither now nor when it is read.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "outputs/site/index.html"

# The pictures of its pages, by the code that stands in them.
docs-pictures: setup
	@$(BIN)/python scripts/draw_pages.py
	@$(BIN)/python scripts/draw_conventions.py

demo: setup
	@OMP_WAIT_POLICY="$${OMP_WAIT_POLICY:-PASSIVE}" $(BIN)/python scripts/demo.py

clean:
	rm -rf $(VENV) $(AUDIT) $(NEWEST) build dist *.egg-info .pytest_cache .ruff_cache
