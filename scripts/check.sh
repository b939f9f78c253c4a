#!/bin/bash
# `make check`: everything that `.ci/run` does not do, before an issue is resolved. About an hour on
# two cores. As root it installs the packages it needs.
# usage: scripts/check.sh [STEP...]     (all of them, in this order)
#   packages  formatting  build  includes  docs  tests  tsan  tidy  cppcheck  fuzz  aarch64
#
# One line a step: its name, "ok" or "FAILED", seconds, and the tool's own last word. What a step
# printed is kept in build/check/STEP.log; its end is shown when it failed. A step that fails does
# not stop the others. Exit status 0 only when nothing failed. FUZZ_SECONDS (60): for each fuzzer.
set -u
cd "$(dirname "$0")/.." || exit 1
export PATH=/usr/bin:$PATH
jobs=${JOBS:-$(nproc)}
logs=build/check
mkdir -p $logs
failed=0

# What CTest, fuzz.sh, lint.sh or check_includes.py say at their end.
last_word() {
    grep -E '^[0-9]+% tests passed|^[0-9]+ (fuzzers|files), |^(tidy|cppcheck): ' "$1" | tail -1
}

# step NAME COMMAND...: run it, and say how it went.
step() {
    local name=$1 start=$SECONDS word
    shift
    "$@" >"$logs/$name.log" 2>&1 </dev/null
    local status=$?
    word=$(last_word "$logs/$name.log")
    if [ $status = 0 ]; then
        printf -- '---- %s: ok, %d s%s\n' "$name" $((SECONDS - start)) "${word:+ ($word)}"
    else
        printf -- '---- %s: FAILED, %d s%s\n' "$name" $((SECONDS - start)) "${word:+ ($word)}"
        tail -30 "$logs/$name.log"
        failed=$((failed + 1))
    fi
}

build() {
    cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"
}

# The tests below these folders, as a regular expression for CTest.
tests_in() {
    find "$@" -name 'test_*.c' -printf '%f\n' 2>/dev/null |
        sed 's/\.c$//' | sort | paste -sd '|' | sed 's/.*/^(&)$/'
}

packages() {
    scripts/deps.sh install check && scripts/arm64_libs.sh
}

docs() {
    diff -u docs/cli.md build/release/docs/cli.md && echo "docs/cli.md is what the options say"
}

# What runs whole models, at one level (QWENCH_CPU_ISA is --cpu-isa); kernel_test does all levels.
tests_at() {
    QWENCH_CPU_ISA=$1 ctest --preset release --no-tests=error -j "$jobs" \
        -R "^e2e_|$(tests_in tests/golden)"
}

levels() {
    local level
    for level in ref avx2 avx512 avx512bf16 neon; do
        ./build/release/qwench generate --cpu-isa $level --prompt-ids 1 --max-tokens 1 \
            >/dev/null 2>&1 && echo $level
    done
}

tsan() {
    build tsan && ctest --preset tsan --no-tests=error -j "$jobs" \
        -R "$(tests_in tests/unit/base tests/unit/engine tests/unit/server tests/engine)"
}

fuzz() {
    build fuzz && scripts/fuzz.sh build/fuzz "${FUZZ_SECONDS:-60}"
}

aarch64() {
    build aarch64 && ctest --preset aarch64 --no-tests=error -j "$jobs"
}

wanted=("$@")
[ ${#wanted[@]} = 0 ] &&
    wanted=(packages formatting build includes docs tests tsan tidy cppcheck fuzz aarch64)
for name in "${wanted[@]}"; do
    case $name in
    packages | docs | tsan | fuzz | aarch64) step "$name" "$name" ;;
    formatting) step formatting scripts/format.sh check ;;
    build) step build build release ;;
    includes) step includes python3 scripts/check_includes.py ;;
    tests) for level in $(levels); do step "tests-$level" tests_at "$level"; done ;;
    tidy | cppcheck) step "$name" scripts/lint.sh "--$name" ;;
    *)
        echo "check.sh: no step '$name'; see the top of this file" >&2
        exit 2
        ;;
    esac
done
[ $failed = 0 ] && echo "everything ok" || echo "$failed FAILED"
[ $failed = 0 ]
