#!/bin/sh
# Copies what the build made to where it is used, or removes exactly that again.
# usage: scripts/install.sh install BUILD      what `cmake --install BUILD` would install
#        scripts/install.sh uninstall
# environment: PREFIX (default /usr/local), DESTDIR (put in front of it, for packages)
#
# Beside `cmake --install` it keeps a list, share/qwench/installed: the files, and the directories
# that had to be made, from the prefix. A second install removes files that only the older one had.
# Somebody else's bin/vllm is left alone.
set -eu
umask 022

die() {
    echo "qwench: $*" >&2
    exit 1
}

prefix=${PREFIX:-/usr/local}
destdir=${DESTDIR:-}
case $prefix in
/*) ;;
*) die "PREFIX must be an absolute path, got '$prefix'" ;;
esac
case $destdir in
'' | /*) ;;
*) destdir=$PWD/$destdir ;;
esac
destdir=${destdir%/}
root=$destdir${prefix%/}
list=$root/share/qwench/installed
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# make_dir PATH: with its missing parents, each noted in $work/dirs, the deepest last.
make_dir() {
    [ ! -d "$1" ] || return 0
    make_dir "$(dirname "$1")"
    mkdir "$1" || die "cannot write to '$root'; try sudo, or PREFIX=\$HOME/.local"
    printf '%s\n' "$1" >>"$work/dirs"
}

# is_foreign PATH: a bin/vllm that no installation of ours made.
is_foreign() {
    [ "$1" = bin/vllm ] || return 1
    [ -e "$root/$1" ] || [ -L "$root/$1" ] || return 1
    [ "$(readlink "$root/$1")" != qwench ]
}

install_all() {
    build=$1
    DESTDIR=$work/stage cmake --install "$build" --prefix / >/dev/null
    rm -f "$build/install_manifest.txt" # not root's, for whoever installs next
    (cd "$work/stage" && find . ! -type d | sed 's|^\./||' | LC_ALL=C sort) >"$work/staged"
    while IFS= read -r path; do
        if is_foreign "$path"; then
            echo "qwench: left '$root/$path' alone: it is not ours" >&2
        else
            printf '%s\n' "$path"
        fi
    done <"$work/staged" >"$work/files"
    : >"$work/dirs"
    [ ! -f "$list" ] || cp "$list" "$work/old"

    [ -z "$destdir" ] || mkdir -p "$destdir"
    make_dir "$root/share/qwench"
    while IFS= read -r path; do make_dir "$(dirname "$root/$path")"; done <"$work/files"
    # The list comes first, so that an installation that is cut short can be removed.
    write_list
    while IFS= read -r path; do
        cp -P --preserve=mode --remove-destination "$work/stage/$path" "$root/$path"
    done <"$work/files"
    if [ -f "$work/old" ]; then
        sed -n 's/^file //p' "$work/old" | while IFS= read -r path; do
            grep -qxF -e "$path" "$work/files" || rm -f "$root/$path"
        done
    fi
    echo "installed in '$root': $(wc -l <"$work/files") files"
}

# "file bin/qwench" from the prefix, "dir /usr/local/share" from DESTDIR. Directories that an
# earlier installation made are still ours.
write_list() {
    {
        sed 's/^/file /' "$work/files"
        {
            [ ! -f "$work/old" ] || sed -n 's/^dir //p' "$work/old"
            while IFS= read -r path; do printf '%s\n' "${path#"$destdir"}"; done <"$work/dirs"
        } | LC_ALL=C sort -u | sed 's/^/dir /'
    } >"$work/list"
    cp "$work/list" "$list"
}

uninstall_all() {
    [ -f "$list" ] || die "nothing is installed under '$root' (no '$list')"
    cp "$list" "$work/list"
    sed -n 's/^file //p' "$work/list" | while IFS= read -r path; do is_foreign "$path" || rm -f "$root/$path"; done
    rm -f "$list"
    # Deepest first, and only what is empty.
    sed -n 's/^dir //p' "$work/list" | LC_ALL=C sort -r |
        while IFS= read -r path; do rmdir "$destdir$path" 2>/dev/null || true; done
    echo "removed from '$root'"
}

case ${1:-}-$# in
install-2) install_all "$2" ;;
uninstall-1) uninstall_all ;;
*)
    echo "usage: scripts/install.sh install BUILD | uninstall" >&2
    exit 2
    ;;
esac
