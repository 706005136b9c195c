#!/usr/bin/env bash
# Load an HTTP/3 server: builds ringway-h3load if need be and runs it.
#
#   scripts/load-h3.sh                                    64 x 64 on https://127.0.0.1:8443/
#   scripts/load-h3.sh -c 16 -m 32 -d 10 https://HOST:PORT/file
#
# Options are ringway-h3load's: see `scripts/load-h3.sh --help`. CPU=1 pins it to that CPU; PROFILE=fast
# builds it sooner, for trying out.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

toolchain
packages "${build_packages[@]}"
cd "$root"
say "building ringway-h3load (the first time takes minutes: BoringSSL)"
profile=${PROFILE:-release}
cargo build --quiet --profile "$profile" -p ringway-bench --features h3 --bin ringway-h3load

pin=()
[ -z "${CPU:-}" ] || pin=(taskset -c "$CPU")
[ $# -gt 0 ] || set -- -c 64 -m 64 https://127.0.0.1:8443/
exec "${pin[@]}" "$target/$profile/ringway-h3load" "$@"
