# The two commands of the README, and the parts they are made of.
#
#   make train    set everything up in .venv, train a classifier on the packaged digits, write its report
#   make test     set everything up in .venv, pass every test: C++ (doctest, ctest) and Python (pytest)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS := $(shell nproc 2>/dev/null || echo 2)
SOURCES := $(shell find csrc python -name '*.cpp' -o -name '*.h' -o -name '*.py' -o -name '*.jinja' -o -name '*.npz')

.PHONY: train test test-cpp test-python test-levels lint benchmark results sanitize sanitize-threads test-aarch64 clean

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

# All that the C++ tests need.
$(VENV)/build-tools: $(VENV)/created
	$(BIN)/pip install --quiet cmake ninja
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

# The Python tests at each lower instruction set that the machine has. The C++ tests run at all of them as it is.
test-levels: $(VENV)/installed-dev
	for isa in $$($(BIN)/python -c "from chainrule._core import available_isas; print(*available_isas()[:-1])"); do \
	  CHAINRULE_MAX_ISA=$$isa $(BIN)/python -m pytest || exit 1; done

# The C++ tests again: under AddressSanitizer and UndefinedBehaviorSanitizer; under ThreadSanitizer, by clang,
# whose OpenMP tells the sanitizer how it orders threads (GCC's does not, which looks like races); and compiled for
# 64-bit ARM, under an emulator.
CPP_TESTS := -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
  -DCHAINRULE_BUILD_PYTHON=OFF -DCHAINRULE_BUILD_TESTS=ON
define build_and_run_cpp_tests
	$(BIN)/cmake --build build/$@ -j $(JOBS)
	$(BIN)/ctest --test-dir build/$@ -j $(JOBS) --output-on-failure --no-tests=error
endef

sanitize: $(VENV)/build-tools doctest
	$(BIN)/cmake -S . -B build/$@ $(CPP_TESTS) -DCHAINRULE_SANITIZE=address,undefined
	$(build_and_run_cpp_tests)

sanitize-threads: $(VENV)/build-tools doctest
	@tools/require_packages.sh "ThreadSanitizer" clang++-19=clang-19 \
	  /usr/lib/llvm-19/lib/libarcher.so=libomp-19-dev llvm-symbolizer-19=llvm-19
	$(BIN)/cmake -S . -B build/$@ $(CPP_TESTS) -DCHAINRULE_SANITIZE=thread -DCMAKE_CXX_COMPILER=clang++-19
	$(build_and_run_cpp_tests)

test-aarch64: $(VENV)/build-tools doctest
	@tools/require_packages.sh "The build for 64-bit ARM" \
	  aarch64-linux-gnu-g++=g++-aarch64-linux-gnu qemu-aarch64=qemu-user
	$(BIN)/cmake -S . -B build/$@ $(CPP_TESTS) -DCHAINRULE_WERROR=ON -DCMAKE_SYSTEM_NAME=Linux \
	  -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
	  "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu"
	$(build_and_run_cpp_tests)

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $$(find csrc tests/cpp -name '*.cpp' -o -name '*.h')

benchmark: $(VENV)/installed-dev
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/differentiation.py
	$(BIN)/python benchmarks/footprint.py
	$(BIN)/python benchmarks/augmentation.py

# The rows of results/README.md: `make results` trains those that have no result yet, ROW=NAME one, AGAIN=1 anew.
# The folders of the data are given as MNIST=DIR and CIFAR10=DIR.
results: $(VENV)/installed-dev
	$(BIN)/python results/run.py $(ROW) $(if $(MNIST),--mnist "$(MNIST)") $(if $(CIFAR10),--cifar10 "$(CIFAR10)") \
	  $(if $(AGAIN),--again)

clean:
	rm -rf build $(VENV)
