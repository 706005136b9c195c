#!/usr/bin/env bash
# Set this machine's kernel up for serving, see what that would change, or put it all back.
#
#   scripts/tune.sh check|apply|restore [--profile throughput|latency|bench] [--dry-run] ...
#
# The options are those of `ringway tune --help`; apply and restore go through sudo. Previous values
# are recorded in a journal, and restore puts them back exactly. `ringway doctor` explains each
# setting.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
'' | -h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

ringway=$target/release/ringway
if [ ! -x "$ringway" ]; then
    toolchain
    packages "${build_packages[@]}"
    say "building in release mode (a few minutes the first time)"
    (cd "$root" && cargo build --release -p ringway)
fi
if [ "$1" = check ] || [[ " $* " == *' --dry-run '* ]]; then
    exec "$ringway" tune "$@"
fi
as_root "$ringway" tune "$@"
