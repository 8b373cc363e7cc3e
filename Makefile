# The two commands of the README, and the parts they are made of.
#
#   make train    set everything up in .venv, train a classifier on the packaged digits, write its report
#   make test     set everything up in .venv, pass every test: C++ (doctest, ctest) and Python (pytest)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS := $(shell nproc 2>/dev/null || echo 2)
SOURCES := $(shell find csrc python -name '*.cpp' -o -name '*.h' -o -name '*.py' -o -name '*.jinja' -o -name '*.npz')

.PHONY: train test test-cpp test-python lint benchmark sanitize clean

train: $(VENV)/installed
	$(BIN)/chainrule train

test: test-cpp test-python

# ---- Environments ------------------------------------------------------------------------------------------

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed; type: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python has no venv module; type: apt-get install python3-venv"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || \
	  { echo "A C++ compiler is needed; type: apt-get install g++"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml CMakeLists.txt $(SOURCES)
	$(BIN)/pip install --quiet '.[cli]'
	@touch $@

# PyTorch is what the tests compare with; where it cannot be had, those tests say so and are skipped.
$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet '.[dev]' cmake ninja
	$(BIN)/pip install --quiet 'torch==2.13.0' || echo "PyTorch could not be installed: parity tests will be skipped"
	@touch $@

# ---- Tests -------------------------------------------------------------------------------------------------

# The C++ test framework comes from the system's packages; it is installed where that is allowed.
.PHONY: doctest
doctest:
	@tools/require_doctest.sh

test-cpp: $(VENV)/installed-dev doctest
	$(BIN)/cmake -S . -B build/tests -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DCHAINRULE_BUILD_PYTHON=OFF -DCHAINRULE_BUILD_TESTS=ON -DCHAINRULE_WERROR=ON
	$(BIN)/cmake --build build/tests -j $(JOBS)
	$(BIN)/ctest --test-dir build/tests -j $(JOBS) --output-on-failure --no-tests=error

test-python: $(VENV)/installed-dev
	$(BIN)/python -m pytest

# The C++ tests again under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: $(VENV)/installed-dev doctest
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DCHAINRULE_BUILD_PYTHON=OFF -DCHAINRULE_BUILD_TESTS=ON -DCHAINRULE_SANITIZE=address,undefined
	$(BIN)/cmake --build build/sanitize -j $(JOBS)
	$(BIN)/ctest --test-dir build/sanitize --output-on-failure --no-tests=error

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $$(find csrc tests/cpp -name '*.cpp' -o -name '*.h')

benchmark: $(VENV)/installed-dev
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/differentiation.py
	$(BIN)/python benchmarks/footprint.py

clean:
	rm -rf build $(VENV)
