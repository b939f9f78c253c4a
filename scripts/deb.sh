#!/bin/sh
# Makes build/qwench_VERSION_ARCH.deb of what BUILD installs.
# usage: scripts/deb.sh BUILD
# environment: DEBFULLNAME, DEBEMAIL (who made it), SOURCE_DATE_EPOCH (when; default: the commit)
#
# No debhelper: the package is a tree, a control file whose dependencies dpkg-shlibdeps finds, and
# dpkg-deb. No root is needed.
set -eu
umask 022
cd "$(dirname "$0")/.."
build=${1:?usage: scripts/deb.sh BUILD}
for tool in dpkg-shlibdeps dpkg-deb strip; do
    command -v $tool >/dev/null && continue
    echo "qwench: make deb needs $tool: sudo apt-get install -y dpkg-dev binutils" >&2
    exit 1
done
version=$(cat VERSION)
arch=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-qwench developers} <${DEBEMAIL:-qwench@example.org}>"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date -r VERSION +%s)}
export SOURCE_DATE_EPOCH # dpkg-deb takes it as the time of all files that are newer
year=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
doc=$root/usr/share/doc/qwench

DESTDIR=$root cmake --install "$build" --prefix /usr >/dev/null
rm -f "$build/install_manifest.txt" # in the way of another user who installs
mkdir -p "$root/usr/share/zsh" "$doc" "$root/DEBIAN"
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
strip --remove-section=.comment --remove-section=.note "$root/usr/bin/qwench"
gzip -9n "$root"/usr/share/man/man1/*.1

cat >"$doc/copyright" <<TEXT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: qwench

Files: *
Copyright: $year the qwench developers
License: Apache-2.0

Files: share/tokenizer/* models/tiny/tokenizer.json models/tiny/tokenizer_config.json
 models/tiny/chat_template.jinja
Copyright: 2024-2025 the Qwen team, Alibaba Cloud
License: Apache-2.0

License: Apache-2.0
 On Debian systems the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
TEXT
gzip -9n >"$doc/changelog.gz" <<TEXT
qwench ($version) unstable; urgency=medium

  * Version $version.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT

# dpkg-shlibdeps reads debian/control of the folder it runs in.
mkdir "$work/debian"
printf 'Source: qwench\n\nPackage: qwench\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/qwench | sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<TEXT
Package: qwench
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Section: science
Priority: optional
Description: runs Qwen3 language models on the CPU
 Qwench answers prompts and holds conversations with the language models of the
 Qwen3 family, from checkpoints as they are published, on an ordinary CPU.
 .
 A small model comes with it, so that everything can be tried at once.
TEXT
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

out=build/qwench_${version}_$arch.deb
dpkg-deb --root-owner-group --build -Zxz "$root" "$out" >/dev/null
echo "$out: $(wc -c <"$out") bytes"
