# Forwards to CMake (CMakePresets.json). `make help` lists the targets.
.PHONY: all deps demo test asan clang tsan fuzz check format help clean
FUZZ_SECONDS ?= 30
JOBS ?= $(shell nproc)
export PATH := /usr/bin:$(PATH)

all: build/release/build.ninja ## build build/release/qwench
	cmake --build --preset release -j $(JOBS)

build/%/build.ninja: CMakeLists.txt CMakePresets.json | deps
	cmake --preset $*

deps: ## name the missing Debian packages, install them when root
	@scripts/deps.sh install build

deps-all: ## the same, with clang, fuzzers and checkers
	@scripts/deps.sh install all

demo: all ## ask the built-in model a question
	./build/release/qwench generate --chat --temperature 0 -p "What is 47 + 38?"

test: all ## run the test suite
	ctest --preset release -j $(JOBS)

debug clang asan tsan: %: build/%/build.ninja ## build and test with that preset
	cmake --build --preset $@ -j $(JOBS)
	ctest --preset $@ -j $(JOBS)

fuzz: deps-all build/fuzz/build.ninja ## fuzz every parser for FUZZ_SECONDS each
	cmake --build --preset fuzz -j $(JOBS)
	scripts/fuzz.sh build/fuzz $(FUZZ_SECONDS)

format: ## rewrite the sources with clang-format 14
	git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'include/*.h' | xargs clang-format-14 -i

check: ## includes, headers, formatting
	python3 scripts/check_includes.py
	git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'include/*.h' | xargs clang-format-14 --dry-run -Werror

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z %-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 24
