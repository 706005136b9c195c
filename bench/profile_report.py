#!/usr/bin/env python3
"""The report of scripts/profile.sh: bench/profile_report.py DIR SECONDS EVENT

Reads DIR/folded (collapsed stacks), DIR/stat.csv (perf stat) and DIR/load.log. Exits with 1 when a
frame of the server's own binary has no name.
"""

import collections
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure


def crate(frame):
    """The crate that a function belongs to; the kernel's are one."""
    if frame.endswith("_[k]"):
        return "kernel"
    name = re.sub(r"_\[[a-z]\]$", "", frame)
    impl = re.match(r"<&?(?:mut )?([\w]+)(?:::|[ >])", name)
    if impl:
        return impl[1]
    if BORINGSSL.match(name):
        return "boringssl"
    return name.split("::")[0] if "::" in name else "C and others"


# Its C functions and its assembly, by the beginnings of their names.
BORINGSSL = re.compile(r"bssl::|(_?bcm|BCM|EVP|CRYPTO|SSL|ssl|BN|bn|EC|ec|fiat|RSA|rsa|SHA|sha|HMAC|HKDF|AES|aes|gcm|ghash|"
                       r"x25519|RAND|rand_|ctr_drbg|vpaes|[Cc]ha[Cc]ha20|poly1305|CBS|CBB|cbs|OPENSSL|ASN1|X509|ERR|p256|beeu)_|"
                       r"(aead_|gcm|aes|sha|x25519|ChaCha|poly1305)[A-Za-z0-9_]*$")
# What others call: it counts with the nearest caller that is none of these.
SHARED = {"core", "alloc", "std", "hashbrown", "smallvec", "bytes", "slab", "intrusive_collections", "either", "C and others"}


def owner(stack):
    """Whose work a stack is: the kernel's, BoringSSL's, or that of the crate that called the innermost
    function, through the standard library and its like."""
    for frame in reversed(stack[1:]):
        found = crate(frame)
        if found not in SHARED:
            return "ringway" if found.startswith("ringway") or found == "arena" else found
    return "others"


def read_stacks(path):
    stacks = []
    with open(path) as folded:
        for line in folded:
            stack, _, count = line.rpartition(" ")
            stacks.append((stack.split(";"), int(count)))
    return stacks


def load_of(said):
    """(requests a second, errors) of any of the load generators."""
    for line in said.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            return found["requests_per_second"], found["failed"]
    _, rate, errors, _ = measure.read_load(said)
    return rate, errors


def main():
    directory, seconds, event = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    stacks = read_stacks(os.path.join(directory, "folded"))
    total = sum(count for _, count in stacks)
    if not total:
        sys.exit("no samples: did the load run?")
    own, crates, owners, nameless = (collections.Counter() for _ in range(4))
    frames = 0
    for stack, count in stacks:
        own[stack[-1]] += count
        crates[crate(stack[-1])] += count
        owners[owner(stack)] += count
        for frame in stack[1:]:
            frames += count
            # A frame that perf cannot name is [unknown] or stands as its file's name.
            if re.fullmatch(r"\[(unknown|arena|ringway)\]", frame):
                nameless[frame] += count
    weight = f"{total / 1e6:.0f} ms of CPU time" if event == "cpu-clock" else f"{total:,} {event}"
    print(f"{weight} sampled in {seconds:g} s\n\nby crate:")
    for name, count in crates.most_common(12):
        print(f"  {count / total:6.1%}  {name}")
    print("\nby owner (a crate with what it calls of the standard library, libc and the allocator):")
    for name, count in owners.most_common(8):
        print(f"  {count / total:6.1%}  {name}")
    print("\ntop functions, themselves:")
    for name, count in own.most_common(25):
        print(f"  {count / total:6.1%}  {crate(name):16} {name}")
    counted = {}
    with open(os.path.join(directory, "stat.csv")) as stat:
        for line in stat:
            value, _, name, *_ = line.split(",") + ["", "", ""]
            if re.fullmatch(r"[\d.]+", value):
                counted[name.split(":")[0]] = float(value)
    with open(os.path.join(directory, "load.log")) as log:
        rate, errors = load_of(log.read())
    done = rate * seconds
    print(f"\n{rate:.0f} requests/s, {errors} errors")
    for name, of, unit in (("raw_syscalls", "system calls", ""), ("cycles", "cycles", ""), ("task-clock", "CPU time", " µs")):
        if name in counted and done:
            value = counted[name] / done * (1000 if name == "task-clock" else 1)
            print(f"  {value:.3f}{unit} of {of} a request" if unit else f"  {value:.3f} {of} a request")
    if "cycles" not in counted:
        print("  no cycle counter here: CPU time instead")
    calls = os.path.join(directory, "system-calls.txt")
    if os.path.exists(calls) and os.path.getsize(calls):
        print("\nby system call (strace, which slows the server):")
        print("".join("  " + line for line in list(open(calls))[:8]), end="")
    share = 1 - sum(nameless.values()) / max(frames, 1)
    print(f"\n{share:.2%} of the frames have names; flame graph: {directory}/flame.svg")
    if nameless:
        sys.exit(f"frames without a name: {dict(nameless)}")


main()
