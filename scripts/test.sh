#!/usr/bin/env bash
# Install what the tests need, then run all of them.
#
#   scripts/test.sh [--bare] [STEP...]
#
# Steps: fmt clippy test doc simd release aarch64 names (all when none is named; but aarch64, the
# codec's tests under emulation, only where scripts/aarch64.sh has made its root before, and names,
# which compares what cargo test and cargo nextest run, only where nextest is installed). --bare
# hides whatever Debian's base, a stock Rust toolchain and this script do not bring, as
# scripts/bare.sh says.
#
# Each step ends with its own tool's summary; the last line counts tests and checks together, and
# the exit status is that of the whole. Logs stay in target/test-logs/.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
    sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

# nextest runs tests of different files at once and so ends sooner. It is not needed.
has_nextest() { cargo nextest --version >/dev/null 2>&1; }

bare=
if [ "${1:-}" = --bare ]; then
    bare=$target/bare
    shift
    # Until the packages are installed: Debian's folders and the toolchain's, nothing from
    # /usr/local.
    toolchain
    PATH=$(dirname "$(command -v cargo)"):/usr/sbin:/usr/bin:/sbin:/bin
fi

cd "$root"
logs=$target/test-logs
mkdir -p "$logs"
steps=("$@")
if [ ${#steps[@]} -eq 0 ]; then
    steps=(fmt clippy test doc simd release)
    if [ -e "${RINGWAY_AARCH64_ROOT:-$target/aarch64-root}/ringway-stamp" ]; then
        steps+=(aarch64)
    else
        say "aarch64: skipped, there is no root for it: scripts/aarch64.sh makes one"
    fi
    ! has_nextest || steps+=(names)
fi

# Real clients that black-box tests drive, a browser among them, and valgrind for the instruction
# counts. Fonts, so that the browser's screenshots have letters. Namespaces to tune a network in,
# and a packet filter for one of them.
test_packages=(curl wrk nghttp2-client openssl valgrind chromium fonts-dejavu-core goaccess nginx-light
    python3 python3-venv iproute2 nftables util-linux)
# Python's independent implementations, for differential tests.
python_packages=(hpack==4.2.0 h2==4.4.1 "httpx[http2]==0.28.1" aioquic==1.7.2
    niquests==3.21.2 qh3==2.1.0 opentelemetry-proto==1.45.2)

prepare() {
    toolchain
    packages "${build_packages[@]}" "${test_packages[@]}"
    local venv=$target/venv
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "${python_packages[*]}" ]; then
        say "installing Python packages into $venv: ${python_packages[*]}"
        rm -rf "$venv"
        python3 -m venv "$venv" || die "python3 cannot make a virtual environment"
        "$venv/bin/pip" install -q --disable-pip-version-check "${python_packages[@]}" ||
            die "pip could not install: ${python_packages[*]}"
        echo "${python_packages[*]}" >"$venv/installed"
    fi
    # An independent conformance suite for RFC 9113; its own lock file is the one that it builds by.
    if [ ! -x "$target/tools/bin/httpwg" ]; then
        say "installing httpwg-cli 0.2.5 into $target/tools"
        cargo install -q --locked --root "$target/tools" --target-dir "$target/tools/build" \
            httpwg-cli@0.2.5 || die "cargo could not install httpwg-cli"
        rm -rf "$target/tools/build"
    fi
    if [ -n "$bare" ]; then
        say "hiding all commands that this script does not install"
        scripts/bare.sh "$bare" "${build_packages[@]}" "${test_packages[@]}"
        export PATH=$bare/bin CARGO_HOME=$bare/cargo
    fi
    export RINGWAY_TEST_HTTPWG=$target/tools/bin/httpwg
    export RINGWAY_TEST_PYTHON=$venv/bin/python
    # Everything is installed now, so a test without its tool fails instead of skipping.
    export RINGWAY_TEST_COMPLETE=1
}

passed=0
failed=0
# Every step builds with this profile and these features, so that each C library is compiled once: a
# build script is rebuilt if a feature of one of its dependencies changes.
profile=tested
scope=(--workspace --features ringway-bench/peers,ringway-icount/server,ringway/tower)

# step NAME COMMAND...: run a step with its output shown and kept.
step() {
    local name=$1 started=$SECONDS
    shift
    say "$name: $*"
    status=0
    "$@" 2>&1 </dev/null | tee "$logs/$name.log" || status=$?
    say "$name: $([ $status -eq 0 ] && echo passed || echo FAILED) in $((SECONDS - started)) s"
}

# A step that passes or fails as a whole counts as one check.
check() {
    step "$@"
    if [ $status -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# sum PATTERN LOG: add up the numbers before a word in a runner's summary lines.
sum() {
    # No match means a sum of 0, not a failure.
    sed -e 's/\x1b\[[0-9;]*m//g' "$2" | { grep -oE "[0-9]+ $1" || true; } |
        awk '{ n += $1 } END { print n + 0 }'
}

# Rust's tests: one build, then every test. `cargo test` with named targets builds no examples, but
# the tests of the examples start them, so they are built first.
run_tests() {
    if has_nextest; then
        step test cargo nextest run "${scope[@]}" --no-fail-fast --cargo-profile $profile
        summaries=$(grep -aE 'Summary \[' "$logs/test.log" || true)
    else
        check examples cargo build "${scope[@]}" --examples --profile $profile
        step test cargo --config "target.'cfg(unix)'.runner = 'scripts/run-test.sh'" \
            test "${scope[@]}" --no-fail-fast --profile $profile --tests
        summaries=$(grep -aE '^test result:' "$logs/test.log" || true)
    fi
    tally
}

# Both runners must run the same tests. `cargo test` lists them through the runner, the binary's
# name first; nextest prints the binary before each test.
same_names() {
    cargo --config "target.'cfg(unix)'.runner = 'scripts/run-test.sh'" \
        test "${scope[@]}" --profile $profile --tests -- --list --format terse 2>/dev/null |
        sed -nE 's/^(.*): test$/\1/p' | sort >"$logs/names-cargo"
    cargo nextest list "${scope[@]}" --cargo-profile $profile --message-format json 2>/dev/null |
        python3 -c '
import json, sys
for suite in json.load(sys.stdin)["rust-suites"].values():
    for name in suite["testcases"]:
        print(name)' | sort >"$logs/names-nextest"
    diff "$logs/names-cargo" "$logs/names-nextest" || return 1
    [ -s "$logs/names-cargo" ] && echo "$(wc -l <"$logs/names-cargo") tests in both runners"
}

run_doc_tests() {
    step doc cargo test "${scope[@]}" --doc --no-fail-fast --profile $profile
    summaries=$(grep -aE '^test result:' "$logs/doc.log" || true)
    tally
}

# The codec's tests with each set of vector instructions.
run_simd() {
    step simd scripts/harden.sh simd
    summaries=$(grep -aE '^test result:' "$logs/simd.log" || true)
    tally
}

# The release profile differs from the tested one: a server of that build must survive its
# application's panics, and its path may not take more instructions than recorded.
run_release() {
    check release-build cargo build --release -p ringway -p ringway-icount \
        --features ringway-icount/server --example panics --bin ringway-icount
    check icount-server "$target/release/ringway-icount" server
    RINGWAY_TEST_RELEASE=$target/release step release \
        cargo test "${scope[@]}" --profile $profile --test panics
    summaries=$(grep -aE '^test result:' "$logs/release.log" || true)
    tally
}

# The codec's tests as aarch64 code, with NEON and without.
run_aarch64() {
    step aarch64 scripts/aarch64.sh test
    summaries=$(grep -aE '^test result:' "$logs/aarch64.log" || true)
    tally
}

# tally: add a runner's summary lines to the totals. A missing summary is a failure.
tally() {
    local ok bad
    echo "$summaries" >"$logs/summary"
    ok=$(sum passed "$logs/summary")
    bad=$(($(sum failed "$logs/summary") + $(sum 'timed out' "$logs/summary")))
    [ $status -eq 0 ] || [ $bad -gt 0 ] || bad=1
    passed=$((passed + ok))
    failed=$((failed + bad))
}

prepare
# Some tests open ten thousand connections.
ulimit -Sn hard || true
for name in "${steps[@]}"; do
    case $name in
    fmt) check fmt cargo fmt --all -- --check ;;
    clippy)
        check clippy cargo clippy --profile $profile "${scope[@]}" --all-targets -- -D warnings
        ;;
    test) run_tests ;;
    doc) run_doc_tests ;;
    simd) run_simd ;;
    release) run_release ;;
    aarch64) run_aarch64 ;;
    names) check names same_names ;;
    *) die "no such step: $name (fmt, clippy, test, doc, simd, release, aarch64, names)" ;;
    esac
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
