#!/usr/bin/env bash
# Load an HTTP/1.1 server with wrk, and print its latency too.
#
#   scripts/load-h1.sh                                  64 connections, 5 s, http://127.0.0.1:8080/
#   scripts/load-h1.sh -c 512 -d 10s http://HOST:PORT/file
#   DEPTH=16 scripts/load-h1.sh                         pipelined, so many requests in a row
#
# Options are wrk's. CPU=1 pins it to that CPU.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
packages wrk util-linux
pin=()
[ -z "${CPU:-}" ] || pin=(taskset -c "$CPU")
[ $# -gt 0 ] || set -- -c 64 -d 5s http://127.0.0.1:8080/
pipelined=()
[ -z "${DEPTH:-}" ] || pipelined=(-s "$root/bench/pipeline.lua" -- "$DEPTH")
exec "${pin[@]}" wrk -t 1 --latency "$@" "${pipelined[@]}"
