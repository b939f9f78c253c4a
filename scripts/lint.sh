#!/bin/bash
# clang-tidy 14 (.clang-tidy says what is asked) and cppcheck over the C sources.
# usage: scripts/lint.sh [--tidy|--cppcheck] [all|changed|FILE...]
#   all      every source of the release build (the default)
#   changed  those that differ from the main branch, committed or not; a changed header is seen
#            where a changed source includes it
# Prints each finding as the tools do, and one line per tool. Exit status 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1
tools="tidy cppcheck"
case ${1-} in
--tidy) tools=tidy && shift ;;
--cppcheck) tools=cppcheck && shift ;;
esac
jobs=${JOBS:-$(nproc)}
database=build/release/compile_commands.json
if [ ! -f $database ]; then
    echo "lint.sh: no '$database'; run make first" >&2
    exit 2
fi
# The emulated kernels are the kernels again, through SIMDe: nothing new, and minutes each.
mapfile -t known < <(sed -nE 's/^ *"file": "(.*)",?$/\1/p' $database | sort -u |
    grep "^$PWD/" | grep -v '/emulated_[a-z_]*_avx512' | sed "s|^$PWD/||")
case ${1:-all} in
all) files=("${known[@]}") ;;
changed)
    mapfile -t files < <({
        git diff --name-only "$(git merge-base HEAD main)" -- '*.c'
        git ls-files --others --exclude-standard -- '*.c'
    } | sort -u | grep -xF "$(printf '%s\n' "${known[@]}")")
    ;;
*) files=("$@") ;;
esac
if [ ${#files[@]} = 0 ]; then
    echo "lint.sh: no files to check"
    exit 0
fi
status=0

# One process per file: clang-tidy 14 carries state over from one file to the next. What it says
# about a file comes in one piece, and without its counts of what it did not say.
run_tidy() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    printf '%s\0' "${files[@]}" | xargs -0 -P "$jobs" -n 1 bash -c '
        said=$(clang-tidy-14 -p build/release --quiet "$0" 2>&1)
        status=$?
        grep -vE "^[0-9]+ warnings? (treated|generated)|^Suppressed|^Use -header" <<<"$said" |
            sed "/^$/d"
        exit $((status != 0))'
}

run_cppcheck() {
    local cache=build/release/cppcheck
    mkdir -p $cache
    cppcheck -q -j "$jobs" --enable=warning,performance,portability --std=c11 --inline-suppr \
        --suppressions-list=.cppcheck-suppressions --error-exitcode=1 --cppcheck-build-dir=$cache \
        --template='{file}:{line}: {severity}: {message} [{id}]' -Isrc -Itests -Ibuild/release/generated \
        -D_GNU_SOURCE -D__x86_64__ -D__linux__ -D__AVX2__ -D__FMA__ -D__F16C__ \
        -DQW_TEST_DATA='""' -DQW_TEST_TMP='""' -DQW_SOURCE_DIR='""' -DQW_TEST_EMULATED=0 "${files[@]}"
}

for tool in $tools; do
    if "run_$tool"; then
        echo "$tool: ${#files[@]} files, clean"
    else
        echo "$tool: ${#files[@]} files, FAILED"
        status=1
    fi
done
exit $status
