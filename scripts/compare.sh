#!/usr/bin/env bash
# Measure the CPU time per request of ringway and of its peers, side by side, on this machine.
#
#   scripts/compare.sh [WORK...] [options]      as bench/measure.py, which says more with --help
#
# Installs what that needs (wrk, h2load, nginx) and builds in release mode. Everything stays on loopback.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

toolchain
packages "${build_packages[@]}" python3 util-linux wrk nghttp2-client nginx-light
exec python3 "$root/bench/measure.py" "$@"
