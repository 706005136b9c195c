#!/usr/bin/env bash
# Makes a folder with the commands of a bare machine: Debian's base, the Rust toolchain, and those
# of the named packages. A test that needs anything else then fails.
#
#   scripts/bare.sh DIR PACKAGE...     makes DIR/bin (for PATH) and DIR/cargo (for CARGO_HOME)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# sort and join must agree on an order.
export LC_ALL=C
[ $# -ge 2 ] || die "usage: scripts/bare.sh DIR PACKAGE..."
dir=$1
shift
toolchain
rm -rf "$dir"
mkdir -p "$dir/bin" "$dir/cargo"

# Debian's base, and the dependencies of the named packages.
base=$(dpkg-query -W -f '${Package} ${Priority} ${Essential}\n' |
    awk '$2 == "required" || $2 == "important" || $3 == "yes" { print $1 }')
closure=$(apt-cache depends --recurse --installed --no-suggests --no-enhances --no-recommends \
    --no-conflicts --no-breaks --no-replaces $base "$@" | sed -n 's/^\([a-z0-9][^ :]*\).*/\1/p' | sort -u)

# A link belongs to its target's package: /bin is /usr/bin, and alternatives chain.
files=$(dpkg-query -W -f '${Package} ${binary:Package}\n' | sort |
    join - <(printf '%s\n' "$closure") | cut -d ' ' -f 2 | xargs dpkg -L |
    grep -E '/s?bin/|/lib/|^/opt/' | xargs -d '\n' readlink -m | sort -u)
for folder in /usr/local/sbin /usr/sbin /usr/bin; do
    find "$folder" -mindepth 1 -maxdepth 1 -printf '%p\n' | while read -r path; do
        printf '%s %s\n' "$(readlink -m "$path")" "$path"
    done
done | sort | join - <(printf '%s\n' "$files") | while read -r _ path; do
    ln -sf "$path" "$dir/bin/"
done

# The toolchain's default rustup components. cargo also looks for subcommands in CARGO_HOME/bin, so
# that folder is left out.
for name in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
    path=$(command -v "$name") || die "$name is missing: rustup component add rustfmt clippy"
    ln -sf "$path" "$dir/bin/"
done
for path in "${CARGO_HOME:-$HOME/.cargo}"/*; do
    [ "$(basename "$path")" = bin ] || ln -s "$path" "$dir/cargo/"
done
