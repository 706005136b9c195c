#!/usr/bin/env bash
# Runs one test binary for `cargo test`, as configured by scripts/test.sh.
#
#   scripts/run-test.sh BINARY [ARGUMENT...]
#
# nextest runs latency-sensitive tests alone; .config/nextest.toml lists them. `cargo test` has no
# such list, so here the tests of a listed binary, and those with names that begin with alone_, run
# one after another after the others.
set -euo pipefail
binary=$1
shift
name=$(basename "$binary")
# cargo adds a hash to the name.
name=${name%-*}

case " $* " in
*" --list "*) exec "$binary" "$@" ;;
esac
if grep -q "binary($name)" "$(dirname "${BASH_SOURCE[0]}")/../.config/nextest.toml"; then
    exec "$binary" "$@" --test-threads=1
fi
status=0
"$binary" "$@" --skip alone_ || status=$?
if "$binary" --list --format terse alone_ 2>/dev/null | grep -q ': test$'; then
    "$binary" "$@" alone_ --test-threads=1 || status=$?
fi
exit $status
