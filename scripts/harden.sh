#!/usr/bin/env bash
# Looks for faults in the codecs, in QUIC, and in the TLS record layer, beyond scripts/test.sh.
#
#   scripts/harden.sh [STEP...]      steps: simd asan (when none is named), asan-server, miri, fuzz,
#                                    clean
#
#   simd    the codec's whole test suite once with each RINGWAY_SIMD that this CPU has
#   asan    the same suite, and QUIC's, under AddressSanitizer, BoringSSL's C too
#   asan-server  the server's tests so, with what the kernel does to its memory (half an hour); the
#           clients in other languages take part where scripts/test.sh has installed them
#   miri    the suite's scalar half under Miri (hours; FILTER=NAME restricts it)
#   fuzz    each fuzz target for 60 s (SECONDS_EACH=N); TARGETS="h2 hpack" restricts them
#
# asan works with the stable compiler; miri and fuzz need a nightly toolchain, and fuzz needs
# cargo-fuzz.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
toolchain
cd "$root"

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(simd asan)
triple=$(rustc -vV | sed -n 's/^host: //p')

nightly() {
    rustc +nightly --version >/dev/null 2>&1 ||
        die "there is no nightly toolchain: rustup toolchain install nightly --component miri"
}

simd() {
    local value values=(scalar)
    case $triple in
    x86_64*)
        values+=(sse)
        ! grep -qw avx2 /proc/cpuinfo || values+=(avx2)
        ! grep -qw avx512_vbmi2 /proc/cpuinfo || values+=(avx512)
        ;;
    aarch64*) values+=(neon) ;;
    esac
    for value in "${values[@]}"; do
        say "RINGWAY_SIMD=$value"
        RINGWAY_SIMD=$value cargo test -q -p ringway-codec --lib --tests --profile tested
    done
}

# The standard library is not instrumented. The checks cover our own accesses and those of the
# libraries built here: quiche, and the C of BoringSSL and aws-lc, but not their assembler. Row 77
# of the attack list: no finding. BoringSSL has two static tables of one name, so that check is off.
sanitised() {
    ASAN_OPTIONS=detect_odr_violation=0${ASAN_OPTIONS:+:$ASAN_OPTIONS} \
        RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target/asan CARGO_BUILD_TARGET=$triple \
        RUSTFLAGS="-Zsanitizer=address --cfg ringway_asan -Cforce-frame-pointers=yes" "$@"
}

asan() {
    sanitised cargo test -q -p ringway-codec -p ringway-quic --lib --tests --profile tested
}

# Allocations that live as long as the process on purpose: the names in routes, the test
# application's bytes.
leaks_meant=('ringway::app::router::Pattern>::new' 'ringway::app::router::Router>::endpoint'
    '::harness::pattern')
# The server's tests that cannot pass there, each with its reason.
asan_skips=(
    'alone_a18_ten_thousand_idle_connections measures memory and nothing else'
)

# ringway_asan removes the binary's own allocator, tells the sanitizer which memory the kernel uses
# (server/src/ring/asan.rs), and turns off the harness's checks of memory growth, which would
# measure the sanitizer. Leaks are checked in each process that ends by itself.
asan-server() {
    local status=0 skip reports=$target/asan/reports meant=$target/asan/leaks-meant
    local run=(test -p ringway --lib --bins --tests --examples --no-fail-fast --profile tested --)
    if cargo nextest --version >/dev/null 2>&1; then
        run=(nextest run -p ringway --no-fail-fast --cargo-profile tested --)
    fi
    for skip in "${asan_skips[@]}"; do run+=(--skip "${skip%% *}"); done
    [ ! -x "$target/venv/bin/python" ] || export RINGWAY_TEST_PYTHON=$target/venv/bin/python
    [ ! -x "$target/tools/bin/httpwg" ] || export RINGWAY_TEST_HTTPWG=$target/tools/bin/httpwg
    rm -rf "$reports"
    mkdir -p "$reports"
    printf 'leak:%s\n' "${leaks_meant[@]}" >"$meant"
    # Some tests open ten thousand connections.
    ulimit -Sn hard || true
    ASAN_OPTIONS=detect_leaks=1:log_path=$reports/report \
        LSAN_OPTIONS=suppressions=$meant:print_suppressions=0 \
        sanitised cargo "${run[@]}" || status=$?
    # A server that its test killed or abandoned may still have written a report.
    if [ -n "$(ls "$reports")" ]; then
        cat "$reports"/*
        die "there are reports, of $(ls "$reports" | wc -l) processes: $reports"
    fi
    return $status
}

miri() {
    nightly
    MIRIFLAGS=-Zmiri-disable-isolation RINGWAY_SIMD=scalar CARGO_TARGET_DIR=$target/miri \
        cargo +nightly miri test -p ringway-codec --lib "${FILTER:-}"
}

fuzz() {
    nightly
    command -v cargo-fuzz >/dev/null || die "cargo-fuzz is missing: cargo install cargo-fuzz"
    local folder name
    for folder in codec/fuzz server/fuzz; do
        for name in $(cargo +nightly fuzz list --fuzz-dir "$folder"); do
            [[ " ${TARGETS:-$name} " == *" $name "* ]] || continue
            say "fuzz $name for ${SECONDS_EACH} s"
            # New inputs go to a folder of their own; the committed corpus is only read.
            mkdir -p "$target/fuzz/$name"
            cargo +nightly fuzz run --fuzz-dir "$folder" "$name" \
                "$target/fuzz/$name" "$folder/corpus/$name" -- \
                -max_total_time="$SECONDS_EACH" -max_len=4096 -verbosity=0 -print_final_stats=1
        done
    done
}

SECONDS_EACH=${SECONDS_EACH:-60}
for step in "${steps[@]}"; do
    case $step in
    simd | asan | asan-server | miri | fuzz) "$step" ;;
    clean) rm -rf "$target/asan" "$target/miri" "$target/fuzz" {codec,server}/fuzz/target ;;
    *) die "no such step: $step (simd, asan, asan-server, miri, fuzz, clean)" ;;
    esac
    say "$step: passed"
done
