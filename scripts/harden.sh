#!/usr/bin/env bash
# What looks for faults in the codecs, in QUIC, and in the TLS record layer, beyond scripts/test.sh.
#
#   scripts/harden.sh [STEP...]      steps: simd asan (when none is named), miri, fuzz, clean
#
#   simd    the codec's whole test suite once with each RINGWAY_SIMD that this CPU has
#   asan    the same suite, and QUIC's, under AddressSanitizer (BoringSSL's C is not instrumented)
#   miri    the suite's scalar half under Miri (hours; FILTER=NAME restricts it)
#   fuzz    each fuzz target for 60 s (SECONDS_EACH=N); TARGETS="h2 hpack" restricts them
#
# asan needs no other compiler than ours; miri and fuzz need a nightly toolchain, fuzz cargo-fuzz.
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

# The standard library is not instrumented, so the checks are of our own accesses, and of those of
# the libraries that are built here: quiche's too. Row 77 of the attack list: no finding.
asan() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=$target/asan \
        cargo test -q -p ringway-codec -p ringway-quic --lib --tests --profile tested \
        --target "$triple"
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
    simd | asan | miri | fuzz) "$step" ;;
    clean) rm -rf "$target/asan" "$target/miri" "$target/fuzz" {codec,server}/fuzz/target ;;
    *) die "no such step: $step (simd, asan, miri, fuzz, clean)" ;;
    esac
    say "$step: passed"
done
