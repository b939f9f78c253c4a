#!/bin/sh
# Checks `make dist` as somebody without git would use it: unpacks the tarball in a folder of its
# own, builds, runs a test, installs, removes the sources, runs what was installed, uninstalls.
# Takes a full build. usage: scripts/test_dist.sh
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

make dist
version=$(cat VERSION)
commit=$(git rev-parse --short HEAD)
tar -xzf "build/qwench-$version.tar.gz" -C "$work"
# A repository around the sources: its commits are not theirs.
git -C "$work" init -q
git -C "$work" -c user.name=x -c user.email=x commit -q --allow-empty -m other

unset MAKEFLAGS MAKELEVEL MFLAGS
make -C "$work/qwench-$version" >"$work/log" 2>&1 || { tail -20 "$work/log"; fail "make"; }
(cd "$work/qwench-$version" && ctest --preset release -R 'test_command|test_tiny_models|test_docs') ||
    fail "a test of the unpacked sources"
said=$("$work/qwench-$version/build/release/qwench" --version)
[ "$said" = "qwench $version ($commit)" ] || fail "--version says '$said', the commit is $commit"

prefix="/opt/a prefix"
root="$work/root$prefix"
make -C "$work/qwench-$version" install DESTDIR="$work/root" PREFIX="$prefix" >>"$work/log" 2>&1 ||
    { tail -20 "$work/log"; fail "make install"; }
cp "$work/qwench-$version/scripts/install.sh" "$work/"
rm -rf "$work/qwench-$version"
answer=$(env -i HOME="$work" "$root/bin/qwench" generate --chat --temperature 0 -p "What is 47 + 38?")
case $answer in
*"47 + 38 = 85") ;;
*) fail "the installed program answers '$answer'" ;;
esac
DESTDIR="$work/root" PREFIX="$prefix" "$work/install.sh" uninstall
left=$(find "$work/root" -mindepth 1)
[ -z "$left" ] || fail "uninstall left $left"
echo "make dist: built, tested, installed, used without its sources, and removed"
