PYTHON ?= python3
BIN := .venv/bin

.PHONY: search test benchmark clean

# Install into .venv and search the MBConv space for a Pixel 4.
search: .venv/.installed
	$(BIN)/nas search --space mbconv --target pixel4

# Install the development extras too, then lint, check types and run the tests: a process a core, each with one thread.
test: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# The measured claims: speed, search quality, survival of SIGKILL (minutes).
benchmark: .venv/.installed-dev
	$(BIN)/python benchmarks/exactness.py
	$(BIN)/python benchmarks/costing.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/overhead.py strategies
	$(BIN)/python benchmarks/overhead.py frameworks
	$(BIN)/python benchmarks/search_quality.py
	$(BIN)/python benchmarks/kill_and_resume.py

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[fit,onnx,data]'
	touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ .venv/.installed

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
