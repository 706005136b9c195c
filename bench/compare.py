#!/usr/bin/env python3
"""ringway and its peers under the same loads: the tables of README.md and bench/README.md, plots, and all figures as JSON.

    bench/compare.py [--quick] [--rounds N] [--seconds S] [--bin DIR] [--profile NAME] [--results DIR]
    bench/compare.py --resume FILE     the rest of an interrupted run, with its settings
    bench/compare.py --report FILE     the table and the plots of earlier figures
    bench/compare.py --check           whether the tables match the JSON that they name

Every server has one worker and is pinned to CPU 0, the load generator to CPU 1; rounds alternate and
the figures are medians (see measure.py). For each work and server: CPU time and system calls a
request, requests a second, and latency at 80 % of that by h2load's and ringway-h3load's open loops: a
request begins when it is due (h2load: and a stream of its connection is free). For each server
besides: memory after the load, private memory for each idle connection, new connections a second and
the CPU time of one. With --quick, rounds are as many as fit into ten minutes: at most 3, at least 1.
"""

import argparse
import contextlib
import datetime
import fcntl
import functools
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import measure
import plot

HERE, ROOT = measure.HERE, measure.ROOT
PEERS = ["ringway", "nginx", "h2o", "caddy", "haproxy", "hyper", "actix", *measure.H3_PEERS]
FEWEST = 4
# What the works of a quick run may take; the idle connections come after them.
QUICK_SECONDS = 400

H2LOAD = "h2load -t1 -c{connections} -m{streams} -D{seconds} {scheme}://127.0.0.1:PORT{path}"
H3LOAD = "{bin}/ringway-h3load -q --json -c {connections} -m {streams} -d {seconds} -w 0 https://127.0.0.1:PORT{path}"
WRK = "wrk -t1 -c{connections} -d{seconds}s --latency http://127.0.0.1:PORT{path}"
# work: (kind of server, load, connections, streams, path)
WORKS = {
    "h1-64": ("", WRK, 64, 1, "/baseline11?a=13&b=42"),
    "h2c-64x100": ("-h2c", H2LOAD, 64, 100, "/baseline2?a=1&b=1"),
    "h2-64x100": ("-tls", H2LOAD, 64, 100, "/baseline2?a=1&b=1"),
    "h2-10k-16x32": ("-tls", H2LOAD, 16, 32, "/static/10k.bin"),
    "h3-64x64": ("-h3", H3LOAD, 64, 64, "/baseline2?a=1&b=1"),
    "h3-10k-16x32": ("-h3", H3LOAD, 16, 32, "/static/10k.bin"),
}
# New connections, each with one request: HTTP/1.1 in the clear, HTTP/3 with a full handshake.
SHORT = {
    "": WRK + " -H 'Connection: close'",
    "-h3": H3LOAD + " --short",
}
IDLE = {"": 8000, "-tls": 4000, "-h3": 1000}
IDLE_NAMES = {"": "h1", "-tls": "h2 over TLS", "-h3": "h3"}


def command(work, bin, seconds):
    kind, load, connections, streams, path = WORKS[work]
    scheme = "https" if kind == "-tls" else "http"
    path = path.replace("&", "\\&")
    return load.format(bin=bin, connections=connections, streams=streams, seconds=seconds, scheme=scheme, path=path)


def requests_of(output):
    """(requests, a second, errors) of any of the generators."""
    last = output.strip().splitlines()[-1] if output.strip() else ""
    for line in [last, *output.splitlines()]:
        if line.startswith("{"):
            found = json.loads(line)
            return found["requests"], found["requests_per_second"], found["failed"]
    requests, rate, errors, _ = measure.read_load(output)
    return requests, rate, errors


def one_round(server, load, tries=3):
    before = server.cpu()
    output = measure.generate(load, server)
    after = server.cpu()
    try:
        requests, rate, errors = requests_of(output)
    except SystemExit:
        # On a machine that others work on, a second can pass without the generator's turn.
        if tries == 1:
            raise
        return one_round(server, load, tries - 1)
    us = lambda index: (after[index] - before[index]) * 1e6 / max(requests, 1)
    return {"us": us(0), "user_us": us(1), "rps": rate, "errors": errors, "requests": requests}


def percentiles(micros):
    ordered = sorted(micros)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000, 3)
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "requests": len(ordered)}


def open_loop(server, work, rate, seconds, bin):
    """Latency at 80 % of `rate`."""
    kind, load, connections, streams, path = WORKS[work]
    wanted = 0.8 * rate
    if load is H3LOAD:
        text = command(work, bin, seconds).replace("-w 0 ", "-w 0.2 ") + f" --rate {wanted:.0f}"
        found = json.loads([line for line in measure.generate(text, server).splitlines() if line.startswith("{")][-1])
        return {**latencies(found), "rate": wanted, "reached": found["requests_per_second"], "errors": found["failed"]}
    with tempfile.NamedTemporaryFile(prefix="ringway-compare-") as log:
        text = H2LOAD.format(connections=connections, streams=streams, seconds=seconds,
                             scheme="https" if kind == "-tls" else "http", path=path.replace("&", "\\&"))
        each = max(1, round(wanted / connections))
        extra = f" --rps {each} --log-file {log.name}" + (" --h1" if kind == "" else "")
        measure.generate(text + extra, server)
        rows = [line.split("\t") for line in open(log.name)]
    good = [int(row[2]) for row in rows if row[1] == "200"]
    if not good:
        return None
    return {**percentiles(good), "rate": each * connections, "reached": len(rows) / seconds, "errors": len(rows) - len(good)}


def latencies(found):
    """ringway-h3load's percentiles."""
    quantiles = found["latency"]["quantiles"]
    return {f"{name}_ms": quantiles[f"{name}_us"] / 1000 for name in ("p50", "p99", "p999")}


def system_calls(server, load):
    """System calls a request, counted by the kernel's tracepoint; none where that is not allowed."""
    pids = ",".join(map(str, server.pids()))
    perf = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids],
                            stderr=subprocess.PIPE, text=True)
    time.sleep(0.2)
    try:
        requests, _, _ = requests_of(measure.generate(load, server))
    except SystemExit:
        requests = 0
    perf.send_signal(2)
    said = perf.communicate()[1]
    count = re.search(r"^(\d+),", said, re.M)
    return round(int(count[1]) / requests, 3) if count and requests else None


def private_bytes(server):
    total = 0
    for pid in server.pids():
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(kib) for kib in re.findall(r"Private_\w+:\s+(\d+) kB", rollup.read()))
    return total * 1024


def settled(server):
    """Private memory once its connections have been silent for two seconds."""
    time.sleep(2)
    return private_bytes(server)


def idle_memory(server, kind, count, bin):
    """Private memory for each of `count` connections that have had one answer. What the first ones make a server
    keep for all (buffers, tables) is not theirs."""
    if kind == "-h3":
        before = private_bytes(server)
        text = f"{bin}/ringway-h3load -q --json -c {count} -r 50 -d 8 -w 0 https://127.0.0.1:{server.port}/baseline2"
        load = subprocess.Popen(["bash", "-c", "exec " + text], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(7)
        after = private_bytes(server) if load.poll() is None else None
        load.wait()
        return round((after - before) / count) if after else None
    peers = [dial(server.port, kind) for _ in range(count // 8)]
    before = settled(server)
    peers += [dial(server.port, kind) for _ in range(count)]
    after = settled(server)
    for peer in peers:
        peer.close()
    return round((after - before) / count)


@functools.cache
def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def dial(port, kind):
    """A connection over which one request was answered."""
    peer = socket.create_connection(("127.0.0.1", port), 30)
    if kind == "":
        peer.sendall(b"GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        read_some(peer)
        return peer
    peer = tls_context().wrap_socket(peer, server_hostname="localhost")
    # The preface, empty SETTINGS, and GET / by the static table with an authority of "a".
    head = b"\x82\x87\x84\x41\x01a"
    frame = len(head).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + head
    peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + frame)
    read_some(peer)
    return peer


def read_some(peer):
    if not peer.recv(65536):
        raise SystemExit("a server closes a connection instead of answering")


def short_connections(server, kind, seconds, bin):
    """New connections a second, and the server's CPU time for one with its request."""
    path = "/baseline2?a=1\\&b=1" if kind == "-h3" else "/baseline11?a=13\\&b=42"
    load = SHORT[kind].format(bin=bin, connections=64, streams=1, seconds=seconds, path=path)
    found = one_round(server, load)
    return {"connections_a_second": round(found["rps"]), "us_a_connection": round(found["us"], 1)}


def speakers(kind):
    return [peer for peer in PEERS if peer + kind in measure.SERVERS]


def start(peer, kind, bin):
    """The server, or why it does not start."""
    try:
        return measure.Server(peer + kind, bin), None
    except SystemExit as error:
        return None, str(error)


@contextlib.contextmanager
def alone(path):
    """Holds a lock file that others who measure on the machine take too, where there is one."""
    if not path:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def rounds_within(left, servers, args):
    """How many rounds fit in the seconds left for a work, apart from its open loop and system calls."""
    if left is None:
        return args.rounds
    once = servers * (args.seconds + 0.4)
    fixed = servers * (args.seconds + 3)
    return max(1, min(args.rounds, int((left - fixed) / once)))


def compare_work(work, args, bin, left=None):
    begun = time.monotonic()
    kind = WORKS[work][0]
    servers, missing, kept = {}, {}, {}
    load = command(work, bin, args.seconds)
    try:
        for peer in speakers(kind):
            server, why = start(peer, kind, bin)
            if server:
                servers[peer] = server
            else:
                missing[peer] = why
        for peer, server in list(servers.items()):
            try:  # warm, and able to do the work at all
                one_round(server, command(work, bin, 1))
            except (SystemExit, json.JSONDecodeError, KeyError) as error:
                missing[peer] = f"does not do this work: {str(error).strip()[:80]}"
                servers.pop(peer).stop()
        left = left and left - (time.monotonic() - begun)
        for _ in range(rounds_within(left, len(servers), args)):
            for peer, server in servers.items():
                kept.setdefault(peer, []).append(one_round(server, load))
        rows = {}
        for peer, server in servers.items():
            middle = lambda key: round(statistics.median(r[key] for r in kept[peer]), 3)
            row = {key: middle(key) for key in ("us", "user_us", "rps")}
            row["errors"] = sum(r["errors"] for r in kept[peer])
            row["rounds"] = [{key: round(r[key], 3) for key in ("us", "rps")} for r in kept[peer]]
            row["open_loop"] = open_loop(server, work, row["rps"], args.seconds + 1, bin)
            row["system_calls"] = system_calls(server, command(work, bin, 1))
            row["resident_kib"] = server.resident_kib()
            rows[peer] = row
    finally:
        for server in servers.values():
            server.stop()
    ratios = {}
    if "ringway" in kept:
        for peer in rows:
            pairs = zip(kept["ringway"], kept[peer])
            ratios[peer] = measure.quartiles(a["us"] / b["us"] for a, b in pairs if b["us"] > 0)
    return {"load": load.replace(bin + "/", ""), "servers": rows, "missing": missing, "ratios": ratios}


@contextlib.contextmanager
def small_pages():
    """Servers that start now have pages of 4 KiB: with mimalloc's of 2 MiB, a table of eight thousand entries is
    found to have taken nothing or 262 bytes for each."""
    name = "MIMALLOC_ALLOW_THP"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def compare_idle(kind, args, bin):
    found, count = {}, IDLE[kind]
    works = [(small_pages, lambda server: {"bytes": idle_memory(server, kind, count, bin)})]
    if kind in SHORT:
        works.append((contextlib.nullcontext, lambda server: short_connections(server, kind, args.seconds, bin)))
    for peer in speakers(kind):
        row = found[peer] = {}
        for pages, work in works:
            with pages():
                server, why = start(peer, kind, bin)
            if not server:
                row["failed"] = why.strip()[:100]
                break
            try:
                row |= work(server)
            except (OSError, SystemExit) as error:
                row["failed"] = str(error).strip()[:100]
            finally:
                server.stop()
    return {"connections": count, "servers": found}


def versions():
    commands = {"nginx": ["nginx", "-v"], "h2o": ["h2o", "--version"], "caddy": ["caddy", "version"],
                "haproxy": ["haproxy", "-v"], "h2load": ["h2load", "--version"], "wrk": ["wrk", "-v"]}
    found = {name: measure.version(command) for name, command in commands.items()}
    with open(os.path.join(ROOT, "Cargo.lock")) as lock:
        text = lock.read()
    with open(os.path.join(HERE, "peers", "h3", "Cargo.lock")) as lock:
        text += lock.read()
    for crate in ("hyper", "actix-web", "quiche", "tokio-quiche", "quinn", "tquic"):
        version = re.search(rf'name = "{crate}"\nversion = "([^"]+)"', text)
        found[crate] = version and f"{crate} {version[1]}"
    return found


def commit():
    run = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return run("rev-parse", "--short", "HEAD") + ("+changes" if run("status", "--porcelain", "-uno") else "")


def cell(q, own):
    return "–" if q is None else "1" if own else f"{q['median']:.2f} ({q['q1']:.2f}–{q['q3']:.2f})"


def table(result):
    """The table of bench/README.md, in Markdown."""
    lines = ["| work | server | µs of CPU (user) | ringway ÷ it | requests/s | p50 / p99 / p99.9 at 80 %, ms | system calls | RSS, MiB |",
             "|---|---|---|---|---|---|---|---|"]
    for work, found in result["works"].items():
        for peer, row in found["servers"].items():
            loop = row["open_loop"]
            latency = " / ".join(f"{loop[key]:.2f}" for key in ("p50_ms", "p99_ms", "p999_ms")) if loop else "–"
            latency += " †" if loop and loop.get("reached", loop["rate"]) < 0.95 * loop["rate"] else ""
            calls = "–" if row["system_calls"] is None else f"{row['system_calls']:.2f}"
            errors = f", {row['errors']} errors" if row["errors"] else ""
            ratio = cell(found["ratios"].get(peer), peer == "ringway")
            lines.append(f"| {work} | {peer} | {row['us']:.2f} ({row['user_us']:.2f}) | {ratio} | {row['rps']:,.0f}{errors} "
                         f"| {latency} | {calls} | {row['resident_kib'] / 1024:.0f} |")
    lines += idle_table(result["idle"])
    left_out = [f"{peer} ({why})" for peer, why in result["absent"].items()]
    for work, found in result["works"].items():
        left_out += [f"{peer} at {work} ({' '.join(why.split())})" for peer, why in found["missing"].items()
                     if peer + WORKS[work][0] in measure.SERVERS]
    if left_out:
        lines += ["", f"Missing: {'; '.join(left_out)}."]
    mute = [f"{IDLE_NAMES[kind]}: {', '.join(peer for peer in PEERS if peer + kind not in measure.SERVERS)}"
            for kind in IDLE_NAMES]
    lines += ["", f"Not spoken, or not by the version here: {'; '.join(mute)}."]
    if any("†" in line for line in lines):
        lines += ["", "† That rate was not reached: the latencies are of a queue, at the server or in the generator."]
    return "\n".join(lines)


def idle_table(idle):
    """What idle connections hold and what new ones cost."""
    kinds = [kind for kind in IDLE if idle.get(kind)]
    if not kinds:
        return []
    columns = [f"bytes an idle connection, {IDLE_NAMES[kind]} ({idle[kind]['connections']:,})" for kind in kinds]
    columns += [f"new connections/s, {IDLE_NAMES[kind]} (µs of CPU each)" for kind in kinds if kind in SHORT]
    lines = ["", f"| server | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for peer in PEERS:
        rows = {kind: idle[kind]["servers"].get(peer, {}) for kind in kinds}
        cells = ["–" if row.get("bytes") is None else f"{row['bytes']:,}" for row in rows.values()]
        for kind in kinds:
            rate, us = (rows[kind].get(key) for key in ("connections_a_second", "us_a_connection"))
            if kind in SHORT:
                cells.append("–" if rate is None else f"{rate:,}" + (f" ({us:.0f})" if us else ""))
        if set(cells) != {"–"}:
            lines.append(f"| {peer} | {' | '.join(cells)} |")
    return lines


def facts(result):
    m = result["machine"]
    number = lambda said: re.search(r"\d+(\.\d+)+", said)
    found = {name: said and number(said) for name, said in result["versions"].items()}
    others = f", with other work on the machine (load average {m['load_average']:.0f}): trust the ratios; the latencies carry that work"
    others = others if m["load_average"] >= 1 else ""
    present = ", ".join(f"{name} {version[0]}" for name, version in found.items() if version)
    return (f"{result['date']}, commit {result['commit']}, profile {result['profile']}; {m['cpu']}, {m['cores']} shared cores, Linux "
            f"{m['kernel']}, loopback; medians of {rounds_of(result)} rounds of {result['seconds']} s, alternating{others}. {present}.")


def rounds_of(result):
    counts = {len(row["rounds"]) for found in result["works"].values() for row in found["servers"].values()}
    return " to ".join(str(count) for count in sorted({min(counts), max(counts)}))


def nearest(result):
    """README's small table: each work beside the peer that comes nearest."""
    lines = ["| work | µs of CPU a request | nearest peer | µs | ratio |", "|---|---|---|---|---|"]
    for work, found in result["works"].items():
        own = found["servers"]["ringway"]["us"]
        others = {peer: row["us"] for peer, row in found["servers"].items() if peer != "ringway"}
        peer = min(others, key=others.get)
        ratio = found["ratios"][peer]["median"]
        lines.append(f"| {work} | {own:.2f} | {peer} | {others[peer]:.2f} | {ratio:.2f} |")
    return "\n".join(lines)


# The papers with a table of the comparison, between marks of that name, and what makes each.
PAPERS = {
    "compare": (os.path.join(HERE, "README.md"), lambda result: f"{facts(result)}\n\n{table(result)}"),
    "nearest": (os.path.join(ROOT, "README.md"), nearest),
}


def block(name, path):
    """The text between the marks, and the marks, which carry the hash of the JSON."""
    with open(path, "rb") as file:
        raw = file.read()
    mark = f"{os.path.relpath(path, ROOT)} sha256:{hashlib.sha256(raw).hexdigest()[:16]}"
    return f"<!-- {name}: {mark} -->\n{PAPERS[name][1](json.loads(raw))}\n<!-- /{name} -->"


def marked(name):
    """The paper of a table, its text, and where in it the table is."""
    paper, _ = PAPERS[name]
    with open(paper) as file:
        text = file.read()
    return paper, text, re.search(rf"<!-- {name}: (\S+) sha256:\w+ -->.*?<!-- /{name} -->", text, re.S)


def report(path):
    """Plots beside the JSON, and the tables of both papers if the JSON is a committed one."""
    with open(path) as file:
        result = json.load(file)
    for work, found in result["works"].items():
        rows = sorted(((peer, row["us"]) for peer, row in found["servers"].items()), key=lambda row: row[1])
        with open(os.path.join(os.path.dirname(path), f"compare-{work}.svg"), "w") as file:
            file.write(plot.bars(f"{work}: server CPU a request", "µs", rows))
    if os.path.dirname(os.path.abspath(path)) != os.path.join(HERE, "results"):
        return
    for name in PAPERS:
        paper, text, found = marked(name)
        if found:
            with open(paper, "w") as file:
                file.write(text[: found.start()] + block(name, path) + text[found.end() :])


def check():
    for name in PAPERS:
        paper, _, found = marked(name)
        paper = os.path.relpath(paper, ROOT)
        if not found:
            sys.exit(f"{paper} has no table of the comparison")
        if found[0] != block(name, os.path.join(ROOT, found[1])):
            sys.exit(f"{paper}'s table is not that of {found[1]}: bench/compare.py --report {found[1]}")


def main():
    about, _, _ = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s, within ten minutes in all")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of load in each round")
    parser.add_argument("--works", help="only these, with commas")
    parser.add_argument("--results", default=os.path.join(HERE, "results"), metavar="DIR")
    parser.add_argument("--bin", help="where the built programs are; default: build them")
    parser.add_argument("--profile", default="release", help="cargo profile to build")
    parser.add_argument("--lock", metavar="FILE", help="held during each work, on a machine that others measure on")
    parser.add_argument("--report", metavar="FILE")
    parser.add_argument("--resume", metavar="FILE")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check or args.report:
        return check() if args.check else report(args.report)
    before = {}
    if args.resume:
        with open(args.resume) as file:
            before = json.load(file)
        args.rounds, args.seconds, args.profile = (before[key] for key in ("rounds", "seconds", "profile"))
    args.rounds = args.rounds or (3 if args.quick else 9)
    args.seconds = args.seconds or (1 if args.quick else 3)
    # Told to end, it stops the servers that it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16), hard))
    bin = os.path.abspath(args.bin) if args.bin else measure.build(args.profile)
    absent = {peer: "not installed" for peer in ("nginx", "h2o", "caddy", "haproxy") if not shutil.which(peer)}
    absent |= {peer: "not built: bench/peers/h3" for peer in measure.H3_PEERS if not measure.h3_peer(peer, bin)}
    present = [peer for peer in PEERS if peer not in absent]
    if len(present) - 1 < FEWEST:
        sys.exit(f"only {len(present) - 1} peers are here, {FEWEST} are wanted; missing: {absent}")
    PEERS[:] = present
    begun = time.monotonic()
    result = {"date": datetime.date.today().isoformat(), "commit": commit(), "profile": args.profile,
              "machine": {**measure.machine(), "load_average": os.getloadavg()[0]}, "versions": versions(),
              "rounds": args.rounds, "seconds": args.seconds, "minutes": 0, "seconds_by_part": {}, "absent": absent, "works": {}, "idle": {}}
    result.update(before)
    result["absent"] = absent
    os.makedirs(args.results, exist_ok=True)
    path = args.resume or os.path.join(args.results, f"compare-{result['date']}.json")
    spent = result["minutes"]

    def save(part, since):
        result["minutes"] = round(spent + (time.monotonic() - begun) / 60, 1)
        parts = result.setdefault("seconds_by_part", {})
        parts[part] = round(time.monotonic() - since)
        print(f"{part}: {parts[part]} s; {result['minutes']} min in all", file=sys.stderr, flush=True)
        with open(path, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")

    works = [work for work in (args.works.split(",") if args.works else WORKS) if work not in result["works"]]
    for index, work in enumerate(works):
        since = time.monotonic()
        left = (begun + QUICK_SECONDS - since) / (len(works) - index) if args.quick else None
        with alone(args.lock):
            found = compare_work(work, args, bin, left)
        if "ringway" in found["missing"]:
            absent[work] = found["missing"]["ringway"][:100]
            continue
        result["works"][work] = found
        save(work, since)
    for kind in IDLE:
        if kind not in result["idle"] and any(WORKS[work][0] == kind for work in result["works"]):
            since = time.monotonic()
            with alone(args.lock):
                result["idle"][kind] = compare_idle(kind, args, bin)
            save(f"idle connections, {IDLE_NAMES[kind]}", since)
    compared = {peer for found in result["works"].values() for peer in found["servers"]}
    if len(compared) - 1 < FEWEST:
        sys.exit(f"only {sorted(compared)} did the works: fewer than {FEWEST} peers are no comparison")
    report(path)
    print(facts(result) + "\n\n" + table(result))


if __name__ == "__main__":
    main()
