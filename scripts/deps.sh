#!/bin/sh
# Says which Debian packages the build still needs; installs them when run as root.
# usage: scripts/deps.sh [check|install] [build|all|aarch64|check]
#   check    exit 0 when nothing is missing, else print the apt line and exit 1
#   install  install what is missing (root), else as check
#   build    what `make`, `make demo` and `make test` need (the default)
#   all      also clang 14, its sanitizer and fuzzer runtimes, clang-format and chromium, for `.ci/run`
#   aarch64  build, and a compiler and an emulator for aarch64, for `make test-aarch64`
#   check    everything, with clang-tidy and cppcheck, for `make check`
set -u
mode=${1:-install}
set_name=${2:-build}
usage() {
    echo "usage: scripts/deps.sh [check|install] [build|all|aarch64|check]" >&2
    exit 2
}
[ "$mode" = check ] || [ "$mode" = install ] || usage
case $set_name in
build | all | aarch64 | check) ;;
*) usage ;;
esac

packages="gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
    libxxhash-dev libcurl4-openssl-dev libedit-dev libmicrohttpd-dev libgnutls28-dev libyaml-dev
    libncurses-dev
    libcmocka-dev curl python3"
if [ "$set_name" = all ] || [ "$set_name" = check ]; then
    # llvm-14 has the symbolizer that the sanitizers print stack traces with.
    # libsimde-dev lets kernel_test run the levels that this CPU lacks.
    # chromium and a font: the test of the web page, which skips without them.
    packages="$packages clang-14 libclang-rt-14-dev llvm-14 clang-format-14 libsimde-dev chromium
        fonts-dejavu-core"
fi
if [ "$set_name" = aarch64 ] || [ "$set_name" = check ]; then
    packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"
fi
if [ "$set_name" = check ]; then
    packages="$packages clang-tidy-14 cppcheck"
fi
if ! command -v dpkg-query >/dev/null; then
    echo "qwench: no dpkg here; what Debian calls" $packages "must be installed by hand" >&2
    exit 0
fi
missing=
for p in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) || state=
    case $state in
    ?i*) ;; # installed, whatever is wanted of it
    *) missing="$missing $p" ;;
    esac
done
[ -z "$missing" ] && exit 0
echo "qwench: missing Debian packages:$missing" >&2

install_missing() {
    # shellcheck disable=SC2086 # the list is meant to be split
    apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
        $missing </dev/null >&2
}
if [ "$mode" = install ] && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # A fresh system has no package lists yet; an old one may have lists of files that are gone.
    # shellcheck disable=SC2086
    apt-cache show $missing >/dev/null 2>&1 && install_missing && exit 0
    apt-get -qq update >&2 && install_missing && exit 0
    echo "qwench: apt-get could not install them; see its message above" >&2
    exit 1
fi
echo "install them with:  sudo apt-get install -y --no-install-recommends$missing" >&2
exit 1
