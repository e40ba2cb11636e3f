# `make demo` and `make test` need nothing but Python >= 3.11 and make; the rest they install into .venv. With a C++
# compiler the ops are compiled.

PYTHON ?= python3
VENV    := .venv
STAMP   := $(VENV)/.setup-complete
READER  := $(VENV)/.notebooks-complete
TEACHER := $(VENV)/.assignments-complete
BROWSER := $(VENV)/.browser-complete

# Several processes with a thread each: most tests are too small for more than one thread.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: setup demo notebooks assignments solutions test test-fast test-gpu test-notebooks test-assignments test-stress \
	test-browser \
	lint clean

setup: $(STAMP)

# The stamp says that everything below succeeded. It is taken away first, and an environment found without it is made
# anew, so a half-finished installation is never built upon.
$(STAMP): requirements.txt setup.py pyproject.toml $(shell find csrc -type f)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maskrcnn needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 ...")'
	@if [ -e $@ ]; then rm $@; else echo "Creating the environment $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@$(VENV)/bin/python -m maskrcnn info
	@touch $@

demo: setup
	$(VENV)/bin/python -m maskrcnn demo --out runs/demo

# Jupyter is large, and only readers of the tutorial need it.
$(READER): $(STAMP) notebooks/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement notebooks/requirements.txt
	@touch $@

# The root is the project, as the notebooks have links to its modules.
notebooks: $(READER)
	$(VENV)/bin/jupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/00-start-here.ipynb

# nbgrader is what teachers need, and the tests of the assignments. It calls itself by name, hence PATH.
NBGRADER := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" nbgrader
EACH_ASSIGNMENT = cd notebooks/assignments && for name in $$(ls source); do $(NBGRADER) $(1) --force $$name || exit 1; done

$(TEACHER): $(READER) notebooks/assignments/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement notebooks/assignments/requirements.txt
	@touch $@

# What students get, in notebooks/assignments/release/.
assignments: $(TEACHER)
	$(call EACH_ASSIGNMENT,generate_assignment)

# The same with solutions, hidden tests and pictures, in notebooks/assignments/solutions/.
solutions: $(TEACHER)
	$(call EACH_ASSIGNMENT,generate_solution)

test: setup
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m "not slow"

# Also part of `make test`, where they are skipped if there is no GPU; here one can see why.
test-gpu: setup
	$(VENV)/bin/python -m pytest tests/gpu

test-notebooks: $(READER)
	$(VENV)/bin/python tests/run_notebooks.py

test-assignments: $(TEACHER)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 tests/assignments

# Long training, sudden ends, hostile files: up to ten minutes on two cores.
test-stress: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 tests/stress

# Pages in a real browser, which the system has to have: on Debian `apt-get install chromium`.
$(BROWSER): $(STAMP) tests/browser/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/browser/requirements.txt
	@touch $@

test-browser: $(BROWSER)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 tests/browser

lint: setup
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) build *.egg-info maskrcnn/_C.*.so maskrcnn/ops/build_report.json .pytest_cache .ruff_cache
	find maskrcnn tests -type d -name __pycache__ -prune -exec rm -rf {} +
