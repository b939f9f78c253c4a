#!/bin/sh
# Says which Debian packages the build still needs; installs them when run as root.
# usage: scripts/deps.sh [check|install] [build|all]
#   check    exit 0 when nothing is missing, else print the apt line and exit 1
#   install  install what is missing (root), else as check
#   build    what `make` and `make test` need (the default); all: also clang, fuzzers, formatting
set -u
mode=${1:-install}
set_name=${2:-build}
packages="gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libcmocka-dev python3"
if [ "$set_name" = all ]; then
    packages="$packages clang-14 libclang-rt-14-dev llvm-14 clang-format-14 clang-tidy-14 cppcheck libsimde-dev"
fi
missing=
for p in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) || state=
    case $state in
    ii*) ;;
    *) missing="$missing $p" ;;
    esac
done
[ -z "$missing" ] && exit 0
echo "qwench: missing Debian packages:$missing" >&2
if [ "$mode" = install ] && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # the list is meant to be split
    apt-get install -y --no-install-recommends $missing >&2 ||
        { apt-get update >&2 && apt-get install -y --no-install-recommends $missing >&2; } || exit 1
    exit 0
fi
echo "install them with:  sudo apt-get install -y --no-install-recommends$missing" >&2
exit 1
