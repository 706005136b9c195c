#!/usr/bin/env python3
"""Checks ringway's HPACK and QPACK encoders with independent decoders (PyPI: hpack, pylsqpack).

    python3 -m pip install hpack pylsqpack
    cargo build --release -p ringway-bench --bin vectors
    scripts/check-codecs.py target/release/vectors [hpack STORY.json ...] [qpack LIST.qif ...]

`vectors` writes our encoders' output for the lists; each block is decoded here and compared.
"""

import json
import struct
import subprocess
import sys


def check_hpack(vectors, file):
    import hpack

    decoder = hpack.Decoder(max_header_list_size=1 << 24)
    cases = json.load(open(file))["cases"]
    wires = subprocess.check_output([vectors, "hpack-encode", file], text=True).split()
    assert len(wires) == len(cases), f"{len(wires)} blocks for {len(cases)} cases"
    for number, (case, wire) in enumerate(zip(cases, wires)):
        if "header_table_size" in case:
            decoder.max_allowed_table_size = case["header_table_size"]
        expected = [pair for header in case["headers"] for pair in header.items()]
        found = [(n.decode(), v.decode()) for n, v in decoder.decode(bytes.fromhex(wire), raw=True)]
        assert found == expected, f"case {number}: {found} instead of {expected}"
    return f"{len(cases)} blocks"


def read_qif(file):
    lists = [[]]
    for line in open(file, "rb").read().split(b"\n"):
        if line.startswith(b"#"):
            continue
        if b"\t" in line:
            lists[-1].append(tuple(line.split(b"\t", 1)))
        elif lists[-1]:
            lists.append([])
    return [one for one in lists if one]


def check_qpack(vectors, file, capacity, blocked):
    import pylsqpack

    decoder = pylsqpack.Decoder(capacity, blocked)
    lists, found = read_qif(file), {}
    data = subprocess.check_output([vectors, "qpack-encode", file, str(capacity), str(blocked)])
    while data:
        stream, length = struct.unpack(">QI", data[:12])
        octets, data = data[12 : 12 + length], data[12 + length :]
        if stream == 0:
            for unblocked in decoder.feed_encoder(octets):
                found[unblocked] = decoder.resume_header(unblocked)[1]
            continue
        try:
            found[stream] = decoder.feed_header(stream, octets)[1]
        except pylsqpack.StreamBlocked:
            pass
    for number, expected in enumerate(lists, 1):
        assert found.get(number) == expected, f"list {number}: {found.get(number)}"
    return f"{len(lists)} lists"


def main():
    vectors, *rest = sys.argv[1:]
    kind, passed, failed = None, 0, 0
    for argument in rest:
        if argument in ("hpack", "qpack"):
            kind = argument
            continue
        if kind == "hpack":
            runs = [("", lambda: check_hpack(vectors, argument))]
        else:
            runs = [
                (f" {c} {b}", lambda c=c, b=b: check_qpack(vectors, argument, c, b))
                for c, b in [(0, 0), (256, 100), (4096, 0), (4096, 100)]
            ]
        for label, run in runs:
            try:
                print(f"{argument}{label}: {run()}")
                passed += 1
            except Exception as error:  # whatever the other decoder says is the finding
                print(f"{argument}{label}: FAILED: {error!r}")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
