#!/usr/bin/env bash
# Build ringway in release mode and serve a directory.
#
#   scripts/serve.sh [DIR] [ringway's own options...]
#
# DIR defaults to the site in this repository. Installs the build requirements; running it again
# rebuilds only what changed. Options are those of `ringway serve --help`, for example:
# scripts/serve.sh ~/site --http 0.0.0.0:8080 --workers 2
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
'' | -*) dir=$root/server/site ;;
*)
    dir=$1
    shift
    ;;
esac
[ -d "$dir" ] || die "$dir is not a directory"
dir=$(cd "$dir" && pwd)

toolchain
packages "${build_packages[@]}"
say "building in release mode (a few minutes the first time)"
(cd "$root" && cargo build --release -p ringway)
say "serving $dir"
exec "$target/release/ringway" serve "$dir" "$@"
