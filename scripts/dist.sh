#!/bin/sh
# Packs the committed sources as build/qwench-VERSION.tar.gz. The tarball knows its commit
# (cmake/commit.txt) and depends on nothing else: the same commit gives the same bytes.
set -eu
cd "$(dirname "$0")/.."
version=$(cat VERSION)
out=build/qwench-$version.tar.gz
if ! git rev-parse --git-dir >/dev/null 2>&1; then
    echo "qwench: make dist packs what git has committed; this tree is no git checkout" >&2
    exit 1
fi
git diff --quiet HEAD || echo "qwench: changes that are not committed are left out" >&2
mkdir -p build
git archive --prefix="qwench-$version/" --format=tar HEAD | gzip -9n >"$out.part"
mv "$out.part" "$out"
echo "$out: $(git rev-parse --short HEAD), $(wc -c <"$out") bytes"
