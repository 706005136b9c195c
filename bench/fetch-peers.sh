#!/bin/sh
# Fetches the peer of the codec benchmarks that no crate brings: ls-qpack's C, out of the source
# package of PyPI's pylsqpack. bench/build.rs builds it where it finds it.
set -eu
cd "$(dirname "$0")/.."
mkdir -p target/peers
python3 -m pip download --quiet --no-binary :all: --no-deps -d target/peers pylsqpack
for archive in target/peers/pylsqpack-*.tar.gz; do
    rm -rf target/peers/pylsqpack
    mkdir target/peers/pylsqpack
    tar -xzf "$archive" -C target/peers/pylsqpack --strip-components 1
done
ls -d target/peers/pylsqpack/vendor/ls-qpack
