#!/usr/bin/env bash
# Measure everything beside its peers, and write the tables and plots of bench/results/ and bench/README.md.
#
#   scripts/bench.sh [PART...]     parts: codecs compare h3 (all of them when none is named)
#
#   codecs    criterion's benchmarks of every codec (10 minutes, and as long to build)
#   compare   the servers of the field over every protocol: scripts/compare.sh (three quarters of an
#             hour; with QUICK=1 eight minutes)
#   h3        HTTP/3 beside QUIC's peers: bench/h3_table.py (ten minutes and more)
#
# The lab has a script of its own, scripts/lab.sh. Nothing else should run on the machine meanwhile.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

toolchain
cd "$root"
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(codecs compare h3)
for part in "${parts[@]}"; do
    case $part in
    codecs)
        packages "${build_packages[@]}" libnghttp2-dev pkg-config python3 python3-pip
        bench/fetch-peers.sh
        RINGWAY_WRITE=1 cargo bench
        python3 bench/codecs_plot.py
        ;;
    compare) scripts/compare.sh ${QUICK:+--quick} ;;
    h3) python3 bench/h3_table.py ;;
    *) die "no such part: $part (codecs, compare, h3)" ;;
    esac
    say "$part: done"
done
