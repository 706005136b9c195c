#!/usr/bin/env bash
# Everything for aarch64 that an x86_64 machine can do.
#
#   scripts/aarch64.sh [STEP...]     steps: test check (when none is named), build, clean
#
#   test    run the codec's whole test suite as aarch64 code under qemu's user-mode emulation,
#           twice: RINGWAY_SIMD=neon, then RINGWAY_SIMD=scalar
#   check   compile for aarch64, without linking: the codec without std, tuning, the server with
#           all of its tests
#   build   cross-build the whole workspace, C and C++ libraries included (QUIC's BoringSSL), then
#           start the server's binary under emulation, without serving; RINGWAY_PROFILE=release
#           builds what would ship
#   clean   remove the root described below and what was built in it
#
# The compiler, the standard library for aarch64, the cross compilers and qemu come from Debian's
# newest suite. They are put into a directory of their own, and used in a chroot there: 3 GB, made
# once in a few minutes, in target/aarch64-root or where RINGWAY_AARCH64_ROOT says. Mounts are made
# in a private mount namespace, so nothing stays mounted. Crates are fetched by this machine's
# cargo; what runs in the chroot is offline. Needs a Debian machine with Rust, and root or sudo.
#
# User-mode emulation has no io_uring: the engine itself is not run for aarch64 here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help)
    sed -n '2,22s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

suite=testing
triple=aarch64-unknown-linux-gnu
profile=${RINGWAY_PROFILE:-tested}
mkdir -p "$target"
chroot_dir=$(realpath -m "${RINGWAY_AARCH64_ROOT:-$target/aarch64-root}")
build_dir=$target/aarch64
# Compiler and emulator for the tests; C++ and what follows for BoringSSL, which is patched by git.
root_packages=(rustc cargo libstd-rust-dev:arm64 qemu-user gcc libc6-dev gcc-aarch64-linux-gnu
    libc6-dev-arm64-cross g++ g++-aarch64-linux-gnu make cmake git libclang-dev)

# mirror: the Debian mirror of this machine's apt.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

# make_root: put the packages above into the root, unless they are there.
make_root() {
    local from stamp="$suite ${root_packages[*]}" part=$chroot_dir.part
    [ "$(cat "$chroot_dir/ringway-stamp" 2>/dev/null)" != "$stamp" ] || return 0
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] ||
        die "this needs Debian on x86_64; on aarch64, scripts/test.sh runs everything natively"
    packages mmdebstrap util-linux
    from=${RINGWAY_DEBIAN_MIRROR:-$(mirror)}
    if [ -z "$from" ]; then
        as_root apt-get update -q >&2 || die "apt-get update failed"
        from=$(mirror)
    fi
    [ -n "$from" ] || die "apt knows no Debian mirror here: name one in RINGWAY_DEBIAN_MIRROR"
    say "making a root of Debian $suite in $chroot_dir from $from: ${root_packages[*]}"
    as_root rm -rf --one-file-system "$part" "$chroot_dir"
    # A stale mirror is good enough for a compiler: its files are signed too.
    as_root mmdebstrap --mode=root --variant=essential --architectures=amd64,arm64 \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
        --include="$(IFS=,; echo "${root_packages[*]}")" "$suite" "$part" "$from" ||
        die "could not make the root: mmdebstrap's own message is above"
    as_root mkdir -p "$part"/src/{repo,shared,target,cargo/registry}
    as_root chmod 1777 "$part/src/cargo"
    echo "$stamp" | as_root tee "$part/ringway-stamp" >/dev/null
    as_root mv "$part" "$chroot_dir"
}

# Runs as root, in a mount namespace of its own, before the chroot. Arguments: root, owner,
# repository, target directory, registry, command.
enter='
set -e
cd "$1"
mount --rbind /dev dev
mount --rbind /proc proc
mount --bind "$3" src/repo
if [ -d "$3/../shared" ]; then mount --bind "$3/../shared" src/shared; fi
mount --bind "$4" src/target
mount --bind "$5" src/cargo/registry
root=$1 owner=$2
shift 5
exec chroot --userspec="$owner" "$root" /usr/bin/env -i "$@"
'

# inside COMMAND...: run a command in the root, in the repository. NAME=VALUE pairs may lead.
inside() {
    local registry=${CARGO_HOME:-$HOME/.cargo}/registry
    as_root unshare --mount --propagation private bash -c "$enter" enter \
        "$chroot_dir" "$(id -u):$(id -g)" "$root" "$build_dir" "$registry" \
        --chdir=/src/repo PATH=/usr/bin:/bin HOME=/src/cargo CARGO_HOME=/src/cargo \
        CARGO_TARGET_DIR=/src/target CARGO_NET_OFFLINE=true RUST_BACKTRACE=1 \
        CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64 \
        CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
        CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++ "$@"
}

passed=0
failed=0

# step NAME COMMAND...: run it inside, its output shown and kept.
step() {
    local name=$1 started=$SECONDS
    shift
    say "$name: $*"
    status=0
    inside "$@" 2>&1 </dev/null | tee "$build_dir/$name.log" || status=$?
    say "$name: $([ $status -eq 0 ] && echo passed || echo FAILED) in $((SECONDS - started)) s"
}

# check NAME COMMAND...: a step that counts as one.
check() {
    step "$@"
    if [ $status -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# tests NAME COMMAND...: a step whose tests count.
tests() {
    local ok bad
    step "$@"
    read -r ok bad < <(awk '/^test result:/ { ok += $4; bad += $6 } END { print ok + 0, bad + 0 }' \
        "$build_dir/$1.log")
    [ $status -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    [ "$ok" -gt 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + ok)) failed=$((failed + bad))
}

prepare() {
    toolchain
    make_root
    mkdir -p "$build_dir"
    cargo fetch --quiet --locked || die "cargo could not fetch the crates in Cargo.lock"
    inside true || die "cannot enter $chroot_dir: this needs the right to mount and to chroot" \
        "(in a container: --cap-add SYS_ADMIN and no seccomp or AppArmor rule against mount)"
    say "in $chroot_dir: $(inside rustc --version), $(inside qemu-aarch64 --version | head -n 1)"
}

run() {
    local cargo=(--locked --target "$triple" --profile "$profile")
    case $1 in
    test)
        tests test-neon RINGWAY_SIMD=neon cargo test "${cargo[@]}" -p ringway-codec --no-fail-fast
        tests test-scalar RINGWAY_SIMD=scalar \
            cargo test "${cargo[@]}" -p ringway-codec --no-fail-fast
        ;;
    check)
        check check-no-std cargo check "${cargo[@]}" -p ringway-codec --no-default-features
        check check-all cargo check "${cargo[@]}" \
            -p ringway-codec -p ringway-tuning -p ringway --all-targets
        ;;
    build)
        check build cargo build "${cargo[@]}" --workspace
        [ $status -eq 0 ] || return 0
        check start qemu-aarch64 "/src/target/$triple/$profile/ringway" --version
        ;;
    esac
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(test check)
for name in "${steps[@]}"; do
    case $name in
    test | check | build) ;;
    clean)
        as_root rm -rf --one-file-system "$chroot_dir" "$chroot_dir.part" "$build_dir"
        [ ${#steps[@]} -gt 1 ] || exit 0
        ;;
    *) die "no such step: $name (test, check, build, clean)" ;;
    esac
done

cd "$root"
prepare
for name in "${steps[@]}"; do run "$name"; done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
