#!/usr/bin/env python3
"""What scripts/profile.sh prints: bench/profile_report.py DIR SECONDS EVENT

Reads DIR/folded (collapsed stacks), DIR/stat.csv (perf stat) and DIR/load.log. Exits with 1 when a
frame of the server's own binary has no name.
"""

import collections
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
    return name.split("::")[0] if "::" in name else "C and others"


def read_stacks(path):
    stacks = []
    with open(path) as folded:
        for line in folded:
            stack, _, count = line.rpartition(" ")
            stacks.append((stack.split(";"), int(count)))
    return stacks


def main():
    directory, seconds, event = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    stacks = read_stacks(os.path.join(directory, "folded"))
    total = sum(count for _, count in stacks)
    if not total:
        sys.exit("no samples: did the load run?")
    own, crates, nameless, frames = collections.Counter(), collections.Counter(), collections.Counter(), 0
    for stack, count in stacks:
        own[stack[-1]] += count
        crates[crate(stack[-1])] += count
        for frame in stack[1:]:
            frames += count
            # A frame that perf cannot name is [unknown] or stands as its file's name.
            if re.fullmatch(r"\[(unknown|arena|ringway)\]", frame):
                nameless[frame] += count
    weight = f"{total / 1e6:.0f} ms of CPU time" if event == "cpu-clock" else f"{total:,} {event}"
    print(f"{weight} sampled in {seconds:g} s\n\nby crate:")
    for name, count in crates.most_common(12):
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
        requests, rate, errors, _ = measure.read_load(log.read())
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
