#!/bin/sh
# Fetches the peers of the codec benchmarks that no crate contains: ls-qpack's C code from the
# source package of PyPI's pylsqpack, and picohttpparser's from gunicorn-h1c's.
# bench/codecs/build.rs builds what it finds.
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
python3 -m pip download --quiet --no-binary :all: --no-deps -d target/peers gunicorn-h1c
for archive in target/peers/gunicorn_h1c-*.tar.gz; do
    rm -rf target/peers/gunicorn_h1c
    mkdir target/peers/gunicorn_h1c
    tar -xzf "$archive" -C target/peers/gunicorn_h1c --strip-components 1
done
ls -d target/peers/gunicorn_h1c/src/gunicorn_h1c/picohttpparser
