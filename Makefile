# Everything runs in .venv, which is made on first use from any Python 3.11 or newer.
# A stamp in .venv stands for "installed from this file", so that a second run starts at once.

venv := .venv
python := $(venv)/bin/python
install := $(python) -m pip install --quiet --disable-pip-version-check
# Pyright comes with its wheel; without this it asks a package index for a newer one at each start.
pyright := PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(venv)/bin/pyright

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench torture screenshots pins clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1#\2/p' $(MAKEFILE_LIST) | awk -F'#' '{printf "%-18s %s\n", $$1, $$2}'

setup: $(venv)/.dev  ## install all that tests and checks need

demo: $(venv)/.demo  ## a shop that is killed every few seconds and loses nothing
	@$(python) -m fixtures.shop.demo

test: $(venv)/.dev  ## all tests except the torture ones, on two cores
	@# A thousand processes are started, which need not each compile wfkit, whether or not Python may write bytecode here.
	@$(python) -m compileall -q -j 2 wfkit tui fixtures tests
	$(python) -m pytest -n 2 --dist worksteal

check: $(venv)/.dev  ## format, lint, types and layers
	$(venv)/bin/ruff format --check
	$(venv)/bin/ruff check
	$(venv)/bin/mypy
	$(pyright)
	$(venv)/bin/lint-imports

bench: $(venv)/.dev  ## one JSON line per figure
	@$(python) -m tests.benchmarks

torture: $(venv)/.dev  ## the tests marked `torture`: hundreds of kills, many minutes
	$(python) -m pytest -m torture -o faulthandler_timeout=0

screenshots: $(venv)/.dev  ## take the pictures of the README again, by Chromium
	@$(python) -m tests.screenshots

pins: $(venv)/.dev  ## resolve .ci/requirements*.txt again, to the newest versions
	.ci/pin

clean:  ## remove .venv and all caches
	rm -rf $(venv) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(venv)/.dev: .ci/requirements-dev.txt pyproject.toml | $(python)
	$(install) --require-hashes --requirement .ci/requirements-dev.txt
	$(install) --no-deps --no-build-isolation --editable .
	@touch $@

$(venv)/.demo: .ci/requirements-demo.txt | $(python)
	$(install) --require-hashes --requirement .ci/requirements-demo.txt
	@touch $@

# A name on the PATH proves nothing (pyenv leaves one for every version), so each candidate has to run.
$(python):
	@for candidate in python3.13 python3.12 python3.11 python3; do \
	  if $$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec $$candidate -m venv --clear $(venv); \
	  fi; \
	done; \
	echo 'error: wfkit needs Python 3.11 or newer with its venv module' >&2; \
	echo '  help  install it (Debian, Ubuntu: apt-get install python3-venv; macOS: brew install python)' >&2; \
	exit 1
