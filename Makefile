# Every day's commands. `make help` lists them; the build itself is CMake's (CMakePresets.json).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# More -D options for CMake.
CMAKE_FLAGS ?=
# Tests to run: CTEST_FLAGS='-R text'.
CTEST_FLAGS ?=
# How many pulls `make test-faults` does, and the seed of the first.
RUNS ?= 500
SEED ?= 1
# What `make demo` asks the model.
PROMPT ?= What is 27 + 45?
export PROMPT

CCACHE := $(shell command -v ccache 2>/dev/null)
# Another clone, in another folder, finds what this one compiled.
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR ?= 1
configure = cmake --preset $(1) $(if $(CCACHE),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache) $(CMAKE_FLAGS) $(2)
compile = cmake --build build/$(1) -j $(JOBS)
run_ctest = ctest --test-dir build/$(1) -j $(JOBS) --output-on-failure $(CTEST_FLAGS)

# Gemma 4's published tokenizer and templates, where a folder named shared lies beside the checkout.
# Without them the tests make a tokenizer of that size.
beside := $(abspath $(CURDIR)/../shared/fixtures/published/gemma-4)
ifeq ($(origin CULET_FIXTURES),undefined)
ifneq ($(wildcard $(beside)/.),)
export CULET_FIXTURES := $(beside)
endif
endif

.PHONY: help
help:  ## This list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

.PHONY: build
build:  ## Installs what is missing and builds the command build/release/culet
	@tools/install_deps.sh build
	@# A folder that is configured with the tests stays so.
	@$(call configure,release,$(if $(wildcard build/release/CMakeCache.txt),,-DCULET_TESTS=OFF)) 
	@$(call compile,release) --target culet

PREFIX ?= /usr/local
.PHONY: install
install: build  ## Installs command, libraries, headers and demo model into PREFIX (/usr/local)
	@$(call compile,release) --target culet_shared culet_static
	@cmake --install build/release --prefix "$(PREFIX)"

.PHONY: demo
demo: build  ## Builds, then asks the bundled demo model, also about a picture and a sound: make demo PROMPT="…"
	@printf '\n$$ build/release/culet run models/pebble "%s"\n' "$$PROMPT"
	@build/release/culet run models/pebble "$$PROMPT"
	@printf '\n$$ build/release/culet run models/pebble "What do you see?" --image models/samples/scene.png\n'
	@build/release/culet run models/pebble "What do you see?" --image models/samples/scene.png
	@printf '\n$$ build/release/culet run models/pebble "What do you hear?" --audio models/samples/five.wav\n'
	@build/release/culet run models/pebble "What do you hear?" --audio models/samples/five.wav

.PHONY: test
test: python  ## The whole suite; installs what only tests need, once
	@$(call configure,release,-DCULET_TESTS=ON -DCULET_PYTHON_MODULE=ON)
	@$(call compile,release)
	@$(call run_ctest,release)

# Which Python: make wheel PYTHON=python3.12.
PYTHON ?= /usr/bin/python3
.PHONY: wheel
wheel: build  ## Builds a wheel for PYTHON (/usr/bin/python3), with its libraries inside, and tests it by itself
	@tools/install_deps.sh wheel
	@$(call compile,release) --target culet_static
	@PYTHON="$(PYTHON)" tools/wheel.sh

.PHONY: test-asan
test-asan: python  ## The suite under the address and undefined-behaviour sanitizers
	@$(call configure,asan)
	@$(call compile,asan)
	@ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(call run_ctest,asan)

.PHONY: test-tsan
test-tsan: python  ## What uses threads, under the thread sanitizer
	@$(call configure,tsan)
	@$(call compile,tsan) --target culet_threads_tests
	@TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 $(call run_ctest,tsan) -L threads

.PHONY: test-reference
test-reference: build python  ## Makes the goldens anew with transformers and torch, compares them, runs larger comparisons
	@tools/test_reference.sh

.PHONY: test-faults
test-faults: python  ## Pulls under random faults from a hub of our own: RUNS=500 of them, from SEED=1
	@$(call configure,release,-DCULET_TESTS=ON)
	@$(call compile,release) --target culet
	@CULET_FAULT_RUNS=$(RUNS) CULET_FAULT_SEED=$(SEED) CULET_PROGRAM=build/release/culet \
	  .venv/bin/python tests/hub/test_faults.py

.PHONY: test-mutants
test-mutants: python  ## Builds wrong variants of the engine and shows that the suite catches each
	@tools/mutate.sh

# Whatever is not empty: the short form, as continuous integration runs it.
SHORT ?=
.PHONY: test-qemu
test-qemu:  ## The ops' tests on emulated CPUs: 64-bit ARM, and x86-64 without AVX (SHORT=1: 3 minutes of it)
	@tools/install_deps.sh qemu
	@$(call configure,aarch64)
	@$(call compile,aarch64) --target $(if $(SHORT),culet_ops_tests,all)
	@$(call configure,release,-DCULET_TESTS=ON)
	@$(call compile,release) --target culet culet_ops_tests
	@JOBS=$(JOBS) tools/qemu.sh $(if $(SHORT),--short)

# Which targets: make fuzz FUZZ_TARGETS="safetensors index".
FUZZ_TARGETS ?=
.PHONY: fuzz
fuzz:  ## Builds the fuzz targets with clang and runs each for FUZZ_SECONDS (60) under the sanitizers
	@tools/install_deps.sh fuzz
	@$(call configure,fuzz)
	@$(call compile,fuzz) --target culet_fuzz_targets
	@tools/fuzz.sh $(FUZZ_TARGETS)

.PHONY: format
format:  ## Formats the C++ sources in place
	@tools/format.sh

.PHONY: format-check
format-check:  ## Says what `make format` would change
	@tools/format.sh --check

.PHONY: tidy
tidy:  ## clang-tidy on what differs from the main branch: make tidy ALL=1 for every file
	@tools/install_deps.sh tidy
	@tools/tidy.sh $(if $(ALL),--all)

.PHONY: bench
bench:  ## Builds and runs the micro-benchmarks of the kernels, then `culet bench` on the demo model
	@tools/install_deps.sh bench
	@$(call configure,release,-DCULET_BENCH=ON)
	@$(call compile,release)
	@tools/bench.sh

# Options of tools/benchmark.py: make benchmark BENCHMARK_FLAGS="e2b --out run.json".
BENCHMARK_FLAGS ?=
.PHONY: benchmark
benchmark: python  ## Measures answers, embeddings, tokenizer and Python's share through the Python package
	@$(call configure,release,-DCULET_PYTHON_MODULE=ON)
	@$(call compile,release) --target culet _culet
	@PYTHONPATH=build/release/python .venv/bin/python tools/benchmark.py $(BENCHMARK_FLAGS)

.PHONY: clean
clean:  ## Removes build/ (the virtual environments stay)
	@rm -rf build

# The virtual environment that tests use, made once.
.PHONY: python
python:
	@tools/install_deps.sh test
	@tools/python_env.sh
