#!/bin/sh
# Builds the Debian package, installs it on this machine, uses it, removes it. Needs root.
# usage: scripts/test_deb.sh
set -eu
cd "$(dirname "$0")/.."
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || fail "needs root: dpkg -i"
dpkg-query -W -f '${db:Status-Abbrev}' qwench 2>/dev/null | grep -q '^i' &&
    fail "a package qwench is installed already; remove it first"

make deb
deb=build/qwench_$(cat VERSION)_$(dpkg --print-architecture).deb
home=$(mktemp -d)
trap 'dpkg -P qwench >/dev/null 2>&1 || true; rm -rf "$home"' EXIT
dpkg -i "$deb"
files=$(dpkg -L qwench)
dpkg -V qwench || fail "files differ from the package's checksums"

run() { (cd / && env -i HOME="$home" PATH=/usr/bin:/bin TERM=dumb "$@"); }
answer=$(run qwench generate --chat --temperature 0 -p "What is 47 + 38?")
case $answer in
*"47 + 38 = 85") ;;
*) fail "the answer is '$answer'" ;;
esac
said=$(run qwench --version)
case $said in
"qwench $(cat VERSION) ("*) ;;
*) fail "--version says '$said'" ;;
esac
[ "$(run vllm --version)" = "$(cat VERSION)" ] || fail "vllm --version"
if command -v man >/dev/null; then
    for page in qwench qwench-chat qwench-generate vllm; do
        text=$(run man $page 2>&1) || fail "man $page: $text"
        case $text in
        *SYNOPSIS*) ;;
        *) fail "man $page: $text" ;;
        esac
    done
fi
offered=$(bash --norc -c '. /usr/share/bash-completion/completions/qwench
    COMP_WORDS=(qwench gen) COMP_CWORD=1; _qwench; echo "${COMPREPLY[*]}"')
[ "$offered" = generate ] || fail "bash completion offers '$offered'"
[ -f /usr/share/zsh/vendor-completions/_qwench ] || fail "no zsh completion"

dpkg -P qwench
printf '%s\n' "$files" | while IFS= read -r path; do
    case $path in
    *qwench* | */vllm*) ;;
    *) continue ;; # other packages have these directories too
    esac
    if [ -e "$path" ] || [ -L "$path" ]; then fail "'$path' is left"; fi
done
echo "the package: installed, used, removed; nothing is left"
