# Forwards to CMake (CMakePresets.json). `make help` lists the targets.
.PHONY: all deps deps-all deps-aarch64 demo test test-aarch64 debug asan tsan clang fuzz bench \
	check lint format docs install uninstall dist deb clean help
JOBS ?= $(shell nproc)
export PREFIX ?= /usr/local
export DESTDIR ?=
# Debian's cmake and ninja, not what a Python environment puts in front of them.
export PATH := /usr/bin:$(PATH)

all: build/release/build.ninja ## build build/release/qwench (the default)
	cmake --build --preset release -j $(JOBS)

build/%/build.ninja: CMakeLists.txt CMakePresets.json | deps
	cmake --preset $*

deps: ## name the missing Debian packages; install them when root
	@scripts/deps.sh install build

deps-all: ## the same, with clang 14, fuzzers and clang-format
	@scripts/deps.sh install all

demo: all ## ask the built-in model a question
	./build/release/qwench generate --chat --temperature 0 -p "What is 47 + 38?"

test: all ## run the test suite
	ctest --preset release -j $(JOBS)

debug asan tsan clang: %: build/%/build.ninja ## build and test with that preset
	cmake --build --preset $@ -j $(JOBS)
	ctest --preset $@ -j $(JOBS)

test-aarch64: build/aarch64/build.ninja ## cross-build the layers below the engine; test them under qemu
	cmake --build --preset aarch64 -j $(JOBS)
	ctest --preset aarch64 -j $(JOBS)

fuzz: build/fuzz/build.ninja ## fuzz every parser for FUZZ_SECONDS (30) each
	cmake --build --preset fuzz -j $(JOBS)
	scripts/fuzz.sh build/fuzz $${FUZZ_SECONDS:-30}

bench: all ## measure kernels (15 minutes) and serving (25 minutes); quiet machine
	./build/release/qwench bench kernels --format bf16,w8a8,w4a8 --rounds 15 --json build/release/bench.json
	./build/release/qwench bench server --json build/release/bench-server.json

check: ## everything that .ci/run leaves out: levels, TSan, clang-tidy, cppcheck, aarch64 (an hour)
	@scripts/check.sh

lint: all ## clang-tidy and cppcheck over the files that differ from main
	@scripts/lint.sh changed

format: deps-all ## rewrite the sources with clang-format 14
	scripts/format.sh write

docs: all ## write docs/cli.md anew from the option tables
	cp build/release/docs/cli.md docs/cli.md

install: all ## install under PREFIX (/usr/local); DESTDIR goes in front of it
	@scripts/install.sh install build/release

uninstall: ## remove what install put there, with the same PREFIX and DESTDIR
	@scripts/install.sh uninstall

dist: ## pack the committed sources: build/qwench-VERSION.tar.gz
	@scripts/dist.sh

deb: all ## make a Debian package: build/qwench_VERSION_ARCH.deb
	@scripts/deb.sh build/release

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z][a-z0-9 -]*:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 24

build/clang/build.ninja build/fuzz/build.ninja: | deps-all
build/aarch64/build.ninja: | deps-aarch64

deps-aarch64:
	@scripts/deps.sh install aarch64
	@scripts/arm64_libs.sh
