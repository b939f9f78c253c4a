#!/bin/bash
# Fetches the arm64 libraries that the aarch64 build links and unpacks them into a folder. Neither
# root nor a foreign architecture in dpkg is needed: apt works on lists of its own in that folder.
# usage: scripts/arm64_libs.sh [DIR]     (build/aarch64-libs)
# Does nothing when DIR has them already.
set -eu
cd "$(dirname "$0")/.."
dir=$(realpath -m "${1:-build/aarch64-libs}")
packages="libjansson-dev libjansson4 libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2
    libxxhash-dev libxxhash0 libcmocka-dev libcmocka0"
packages=$(echo $packages)
[ "$(cat "$dir/packages" 2>/dev/null)" = "$packages" ] && exit 0

apt=$dir/apt
rm -rf "$dir"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=
    -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status=/dev/null
    -o Dir::Cache="$apt/cache" -o Dir::Etc::Parts=/etc/apt/apt.conf.d)
echo "qwench: fetching the arm64 libraries of the aarch64 build" >&2
# shellcheck disable=SC2086 # the list is meant to be split
if ! apt-get "${options[@]}" update >&2 ||
    ! (cd "$apt/debs" && apt-get "${options[@]}" download $packages >&2); then
    echo "qwench: apt-get could not fetch them; see its message above" >&2
    exit 1
fi
for deb in "$apt"/debs/*.deb; do
    dpkg-deb -x "$deb" "$dir"
done
rm -rf "$apt"
echo "$packages" >"$dir/packages"
