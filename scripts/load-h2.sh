#!/usr/bin/env bash
# Load an HTTP/2 server with h2load: over TLS (https://), or in the clear with prior knowledge.
#
#   scripts/load-h2.sh                                  64 x 100 streams, 5 s, https://127.0.0.1:8443/
#   scripts/load-h2.sh -c 16 -m 32 -D 10 https://HOST:PORT/file
#   scripts/load-h2.sh -c 64 -m 100 -D 10 --rps 500 https://HOST:PORT/     open loop, 500/s on each
#
# Options are h2load's. CPU=1 pins it to that CPU.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
packages nghttp2-client util-linux
pin=()
[ -z "${CPU:-}" ] || pin=(taskset -c "$CPU")
[ $# -gt 0 ] || set -- -c 64 -m 100 -D 5 https://127.0.0.1:8443/
exec "${pin[@]}" h2load -t 1 "$@"
