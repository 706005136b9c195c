#!/usr/bin/env bash
# Measure ringway beside nginx, h2o, caddy, haproxy, hyper, actix-web, and over HTTP/3 tokio-quiche, quinn
# and tquic, on this machine.
#
#   scripts/compare.sh [--quick]       everything (about 45 minutes; --quick: within ten, once built):
#                                      bench/results/compare-DATE.json, plots, bench/README.md's table
#   scripts/compare.sh --h3 [options]  HTTP/3 alone, in more detail: see bench/h3_table.py --help
#   scripts/compare.sh WORK... [options]      CPU time of single works, as bench/measure.py
#
# Installs what that needs and builds in release mode. Everything stays on loopback. Peers that cannot
# be had are named; fewer than four of them are a failure. Another profile (a quicker build):
# `--profile fast`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

toolchain
packages "${build_packages[@]}" python3 util-linux openssl wrk nghttp2-client nginx-light
# The comparison reports packages that the distribution lacks.
for peer in h2o caddy haproxy linux-perf; do
    (packages "$peer") || say "$peer cannot be installed: going on without"
done
case "${1:-}" in
--h3) exec python3 "$root/bench/h3_table.py" "${@:2}" ;;
'' | --*) exec python3 "$root/bench/compare.py" "$@" ;;
*) exec python3 "$root/bench/measure.py" "$@" ;;
esac
