#!/bin/sh
# Formats the C sources with clang-format 14, the version that decides (others differ).
# usage: scripts/format.sh check|write
#   check   name each place that would change, exit 1 when there is one
#   write   rewrite the files in place
set -eu
cd "$(dirname "$0")/.."
case ${1-} in
check) set -- --dry-run -Werror ;;
write) set -- -i ;;
*)
    echo "usage: scripts/format.sh check|write" >&2
    exit 2
    ;;
esac
find src tests tools include -name '*.[ch]' -print0 2>/dev/null | sort -z |
    xargs -0 -P "$(nproc)" -n 32 clang-format-14 "$@"
