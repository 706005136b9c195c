# Shared by the scripts here: messages, package installation, the Rust toolchain. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# as_root COMMAND...: run as root, through sudo if necessary.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "'$*' needs root: run as root, or install sudo"
    fi
}

# packages NAME...: install the missing Debian packages, and name them.
packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "install these first, as apt-get is not available: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    if [ -z "${apt_updated:-}" ]; then
        as_root apt-get update -q >&2 || die "apt-get update failed"
        apt_updated=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]}"
}

# toolchain: without a Rust toolchain, stop and name what is missing.
toolchain() {
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null || die "cargo is missing: install Rust 1.89 or newer (rustup.rs)"
    command -v rustc >/dev/null || die "rustc is missing: install Rust 1.89 or newer (rustup.rs)"
}

# Build requirements besides Rust: a C and C++ compiler; cmake, libclang and git (its build script
# applies patches) for QUIC's BoringSSL.
build_packages=(gcc g++ libc6-dev make cmake libclang-dev git)
