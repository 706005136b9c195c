#!/usr/bin/env bash
# Measure the benefit of each protocol over a network with configurable delay and loss, and write
# the report.
#
#   scripts/lab.sh                      every experiment (about 20 minutes), bench/results/lab.html
#   scripts/lab.sh EXPERIMENT... [OPTIONS]      as the binary's: see `scripts/lab.sh --help`
#   scripts/lab.sh run --rtt 50 --loss 1 -- COMMAND     a command on the client's side of a link
#
# Needs root and /dev/net/tun: the link is between two network namespaces of the lab's own, which
# end with it. Nothing else of the machine's network is touched.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

toolchain
packages "${build_packages[@]}" iproute2 python3 util-linux
cd "$root"
say "building the lab (the first time takes minutes: BoringSSL)"
cargo build --quiet --profile fast -p ringway-bench --bin lab
lab=$target/fast/lab
case "${1:-all}" in
-h | --help) exec "$lab" --help ;;
run) exec "$lab" "$@" ;;
esac
[ $# -gt 0 ] || set -- all --jobs 12
# Runs with priority over other work on the machine, which would add delay to the links.
nice -n -10 "$lab" "$@" --results bench/results
python3 bench/lab_report.py bench/results
say "the report: bench/results/lab.html"
