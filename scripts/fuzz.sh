#!/bin/bash
# Runs every fuzzer of a fuzz build for a while, one after the other.
# usage: scripts/fuzz.sh [BUILD_DIR [SECONDS [NAME...]]]     (build/fuzz, 30, all)
#        scripts/fuzz.sh BUILD_DIR COUNTx [NAME...]          COUNT inputs each, from a fixed seed:
#                                                            one commit, one verdict (CI)
# Each works on a copy of tests/fuzz/corpus/<what>, so the committed seeds stay as they are. An
# input that crashes, hangs or takes too much memory is kept under BUILD_DIR/crashes. Exit status 1
# when there is one.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/fuzz}
seconds=${2:-30}
shift $(($# < 2 ? $# : 2))

if [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    limit=(-max_total_time="$seconds")
elif [[ $seconds =~ ^[1-9][0-9]*x$ ]]; then
    limit=(-seed=1 -runs="${seconds%x}")
else
    echo "fuzz.sh: '$seconds' is no number of seconds, and no number of inputs like 20000x" >&2
    exit 2
fi
shopt -s nullglob
targets=("$build"/bin/fuzz_*)
if [ ${#targets[@]} = 0 ]; then
    echo "fuzz.sh: no fuzzers under '$build/bin'; run: cmake --preset fuzz && cmake --build --preset fuzz" >&2
    exit 2
fi
if [ $# -gt 0 ]; then
    targets=()
    for name in "$@"; do
        target=$build/bin/fuzz_${name#fuzz_}
        if [ ! -x "$target" ]; then
            echo "fuzz.sh: no fuzzer '$target'" >&2
            exit 2
        fi
        targets+=("$target")
    done
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
symbolizer=$(command -v llvm-symbolizer-14) && export ASAN_SYMBOLIZER_PATH=$symbolizer

status=0
total=0
for target in "${targets[@]}"; do
    name=${target##*/}
    what=${name#fuzz_}
    corpus=$scratch/$what
    crashes=$build/crashes/$name
    log=$scratch/$name.log
    mkdir -p "$corpus" "$crashes"
    seeds=("$root/tests/fuzz/corpus/$what"/*)
    [ ${#seeds[@]} = 0 ] || cp "${seeds[@]}" "$corpus"
    touch "$scratch/start"
    "$target" "$corpus" "${limit[@]}" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$crashes/" -print_final_stats=1 >"$log" 2>&1 </dev/null
    rc=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    total=$((total + ${runs:-0}))
    if [ $rc = 0 ]; then
        printf '%-24s %12s runs  clean\n' "$name" "${runs:-?}"
    else
        status=1
        printf '%-24s %12s runs  FAILED (exit status %d)\n' "$name" "${runs:-?}" $rc
        tail -40 "$log"
        find "$crashes" -type f -newer "$scratch/start" | while read -r file; do
            echo "  input:   $file"
            echo "  replay:  $target '$file'"
            echo "  keep:    cp '$file' '$root/tests/fuzz/corpus/$what/'   (every build replays it)"
        done
    fi
done
echo "${#targets[@]} fuzzers, $total runs$([ $status = 0 ] || echo ', FAILED')"
exit $status
