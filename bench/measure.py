#!/usr/bin/env python3
"""Measure the CPU time that servers spend per request, side by side.

    bench/measure.py [WORK...] [--rounds N] [--seconds S] [--results DIR] [--list]

A WORK is a load and the servers that it is put on (see WORKS below; all of them when none is
named). The servers run pinned to CPU 0 with one worker each, the load generator pinned to CPU 1.
Rounds alternate, A B C A B C, because a shared machine's speed drifts by more than the differences
that matter. The comparison is the ratio of two servers within one round, and the figure is the
median of those ratios with its quartiles. The absolute figures are medians too, but less reliable.

The generator is often the bottleneck, so requests per second say little about a server: its CPU
time (user and system, all threads, as the kernel accounts it) is what one request costs.
Prints a table and writes JSON to bench/results/. Needs wrk, h2load and nginx.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SERVER_CPU, LOAD_CPU = 0, 1
# Seconds that a load may take.
LOAD_MAX = 60
CPUACCT = "/sys/fs/cgroup/cpuacct"

# Each command may name {bin} (where the built programs are), {port}, {tmp} and {site}.
SERVERS = {
    "ringway": "{bin}/arena --http 127.0.0.1:{port} --workers 1",
    "ring": "{bin}/donothing --http 127.0.0.1:{port}",
    "ring-single": "{bin}/donothing --http 127.0.0.1:{port} --recv single",
    "ring-direct": "{bin}/donothing --http 127.0.0.1:{port} --descriptors direct",
    "nginx": "nginx -p {tmp} -c {tmp}/nginx.conf",
    "hyper": "{bin}/peer-hyper --http 127.0.0.1:{port}",
    "ringway-h2c": "{bin}/arena --h2c 127.0.0.1:{port} --workers 1",
    "hyper-h2c": "{bin}/peer-hyper --h2c 127.0.0.1:{port}",
    "nginx-h2c": "nginx -p {tmp} -c {tmp}/nginx.conf",
    "ringway-tls": "{bin}/arena --https 127.0.0.1:{port} {pair} --workers 1 --data {tmp}",
    "hyper-tls": "{bin}/peer-hyper --https 127.0.0.1:{port} {pair} --data {tmp}",
    "nginx-tls": "nginx -p {tmp} -c {tmp}/nginx.conf",
    "h2o": "h2o -c {tmp}/h2o.conf",
    "haproxy": "haproxy -db -f {tmp}/haproxy.conf",
    "caddy": "env GOMAXPROCS=1 HOME={tmp} caddy run --config {tmp}/caddy.conf --adapter caddyfile",
    "axum-ringway": "{bin}/axum-on-ringway --http 127.0.0.1:{port}",
    "axum-ringway-h2c": "{bin}/axum-on-ringway --h2c 127.0.0.1:{port}",
    "axum-hyper": "{bin}/peer-axum --http 127.0.0.1:{port}",
    "axum-hyper-h2c": "{bin}/peer-axum --http 127.0.0.1:{port}",
    "actix": "{bin}/peer-actix --http 127.0.0.1:{port}",
    "actix-h2c": "{bin}/peer-actix --h2c 127.0.0.1:{port}",
    "actix-tls": "{bin}/peer-actix --https 127.0.0.1:{port} {pair} --data {tmp}",
}
for peer in ("h2o", "haproxy", "caddy"):
    for kind in ("h2c", "tls"):
        SERVERS[f"{peer}-{kind}"] = SERVERS[peer]
for peer in ("ringway", "caddy"):
    SERVERS[f"{peer}-h3"] = SERVERS[f"{peer}-tls"]
SERVERS["ringway-h3-metrics"] = SERVERS["ringway-h3"] + " --metrics 127.0.0.1:{second_port}"
# Built apart, in a workspace of their own.
H3_PEERS = ("tokio-quiche", "quinn", "tquic")
# HTTP/3's own table has one more.
H3_ALL = ("quiche", *H3_PEERS)
for peer in H3_ALL:
    SERVERS[f"{peer}-h3"] = "{peer} --https 127.0.0.1:{port} {pair} --data {tmp}"
# What a configuration says of its listener: in the clear, HTTP/2 in the clear, TLS.
LISTENS = {
    "nginx": ("", "http2", "ssl http2"),
    "h2o": (
        "",
        "",
        "\n  ssl:\n    certificate-file: PREFIX/cert.pem\n    key-file: PREFIX/key.pem"
        "\n    ocsp-update-interval: 0",
    ),
    "haproxy": ("", " proto h2", " ssl crt PREFIX/both.pem alpn h2,http/1.1"),
    "caddy": ("", "", "tls PREFIX/cert.pem PREFIX/key.pem"),
}

WRK = "wrk -t1 -c{connections} -d{seconds}s --latency http://127.0.0.1:PORT"
BASELINE = WRK + "/baseline11?a=13\\&b=42"
PIPELINE = WRK + "/pipeline -s bench/pipeline.lua -- 16"
H2LOAD = "h2load -t1 -c{connections} -m%d -D{seconds} %s://127.0.0.1:PORT%s"
SUM = "/baseline2?a=1\\&b=1"
H2C = H2LOAD % (100, "http", SUM)

# A connection, its handshake and one request each; TLS 1.3, X25519, ECDSA P-256 with every server.
# openssl sends no key share of the post-quantum group, so nobody is asked to compute one.
HANDSHAKE = "openssl s_time -connect 127.0.0.1:PORT -time {seconds} -tls1_3 -www /pipeline -%s"

SHORT = "bench/short.py PORT {seconds} {connections}"

# name: (load, connections, servers; ratios are those of the first to each of the others)
WORKS = {
    "h1-64": (BASELINE, 64, ["ringway", "ring", "nginx", "hyper"]),
    "h1-512": (BASELINE, 512, ["ringway", "ring", "nginx", "hyper"]),
    "h1-pipelined-16": (PIPELINE, 64, ["ringway", "ring", "hyper"]),
    "h2c-64x100": (H2C, 64, ["ringway-h2c", "hyper-h2c", "nginx-h2c"]),
    "h2-64x100": (H2LOAD % (100, "https", SUM), 64, ["ringway-tls", "hyper-tls", "nginx-tls"]),
    "h2-64x1": (H2LOAD % (1, "https", SUM), 64, ["ringway-tls", "hyper-tls", "nginx-tls"]),
    "h2-10k-16x32": (
        H2LOAD % (32, "https", "/static/10k.bin"),
        16,
        ["ringway-tls", "hyper-tls", "nginx-tls"],
    ),
    # One axum application, served by ringway and by hyper.
    "axum-h1-64": (BASELINE, 64, ["axum-ringway", "axum-hyper"]),
    "axum-h1-user-64": (WRK + "/user/7", 64, ["axum-ringway", "axum-hyper"]),
    "axum-h1-post-64": (WRK + "/user -s bench/post.lua", 64, ["axum-ringway", "axum-hyper"]),
    # A handler that waits for a task of tokio's, on ringway another thread's.
    "axum-h1-task-64": (WRK + "/task?a=13\\&b=42", 64, ["axum-ringway", "axum-hyper"]),
    "axum-h2c-64x100": (H2C, 64, ["axum-ringway-h2c", "axum-hyper-h2c"]),
    "axum-h2c-64x1": (
        H2LOAD % (1, "http", "/user/7"),
        64,
        ["axum-ringway-h2c", "axum-hyper-h2c"],
    ),
    "tls-full": (HANDSHAKE % "new", 1, ["ringway-tls", "nginx-tls"]),
    "tls-resumed": (HANDSHAKE % "reuse", 1, ["ringway-tls", "nginx-tls"]),
    "peers-64": (BASELINE, 64, ["ring", "nginx", "hyper"]),
    "peers-pipelined-16": (PIPELINE, 64, ["ring", "nginx", "hyper"]),
    "ring-modes-64": (BASELINE, 64, ["ring", "ring-single", "ring-direct"]),
    "ring-modes-512": (BASELINE, 512, ["ring", "ring-single", "ring-direct"]),
    "ring-modes-short": (SHORT, 64, ["ring", "ring-direct"]),
}


class Server:
    """A server process on SERVER_CPU, in a CPU accounting group of its own where there is one."""

    def __init__(self, name, binaries):
        self.name = name
        self.is_udp_only = name.removesuffix("-h3") in H3_ALL
        self.group = make_group(name)
        self.tmp = tempfile.mkdtemp(prefix="ringway-measure-")
        self.port, self.second_port = free_port(), free_port()
        site = os.path.join(ROOT, "server", "site")
        pair = write_data(self.tmp)
        write_conf(name, self.tmp, self.port, site)
        self.command = SERVERS[name].format(
            bin=binaries, port=self.port, second_port=self.second_port, tmp=self.tmp, site=site, pair=pair,
            peer=h3_peer(name.removesuffix("-h3"), binaries),
        )
        self.process = subprocess.Popen(
            ["bash", "-c", "exec " + self.command],
            preexec_fn=self.enter,
            stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(self.tmp, "stderr"), "w"),
        )
        self.wait_until_it_answers()

    def enter(self):
        os.setsid()
        os.sched_setaffinity(0, {SERVER_CPU})
        if self.group:
            with open(self.group + "/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))

    def wait_until_it_answers(self):
        for _ in range(100):
            if self.process.poll() is not None:
                break
            if is_bound(self.port) if self.is_udp_only else answers(self.port):
                return
            time.sleep(0.1)
        with open(os.path.join(self.tmp, "stderr")) as said:
            why = said.read().strip()
        self.stop()
        sys.exit(f"{self.name}: does not listen on {self.port}: {why or self.command}")

    def pids(self):
        """The process and its children (nginx's worker does the work, not its master)."""
        found = [self.process.pid]
        for pid in found:
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as children:
                    found += [int(child) for child in children.read().split()]
            except OSError:
                pass
        return found

    def cpu(self):
        """(total, user, system) seconds used until now."""
        if self.group:
            with open(self.group + "/cpuacct.usage") as usage:
                total = int(usage.read()) / 1e9
            with open(self.group + "/cpuacct.stat") as stat:
                ticks = dict(line.split() for line in stat)
            hertz = os.sysconf("SC_CLK_TCK")
            return total, int(ticks["user"]) / hertz, int(ticks["system"]) / hertz
        return tuple(map(sum, zip(*(task_cpu(pid) for pid in self.pids()))))

    def resident_kib(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/status") as status:
                total += int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])
        return total

    def stop(self):
        for pid in reversed(self.pids()):
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        self.process.wait()
        shutil.rmtree(self.tmp, ignore_errors=True)
        if self.group:
            time.sleep(0.1)
            try:
                os.rmdir(self.group)
            except OSError:
                pass


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    except OSError:
        return False


def is_bound(port):
    """Whether somebody has this UDP port."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def h3_peer(name, binaries):
    """Where a peer of HTTP/3 is: built with the profile of the others, or else with `fast`."""
    target, profile = os.path.split(os.path.abspath(binaries))
    paths = [os.path.join(target, "peers", which, f"peer-{name}") for which in (profile, "fast")]
    return next((path for path in paths if os.path.exists(path)), None)


def make_group(name):
    """A new CPU accounting group, or None where the kernel or our rights do not give one."""
    path = f"{CPUACCT}/ringway-{name}-{os.getpid()}"
    try:
        os.makedirs(path)
        return path
    except OSError:
        return None


def task_cpu(pid):
    """(total, user, system) seconds of all threads of a process, from /proc."""
    total = user = system = 0.0
    hertz = os.sysconf("SC_CLK_TCK")
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
            total += int(schedstat.read().split()[0]) / 1e9
        with open(f"/proc/{pid}/task/{task}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        user += int(fields[11]) / hertz
        system += int(fields[12]) / hertz
    return total, user, system


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_data(tmp):
    """Files of 10 KB and 1 MB that do not compress, one of 1 GiB that takes no room, a data set without
    items, and a certificate of the common kind; the options that name certificate and key."""
    os.makedirs(os.path.join(tmp, "static"))
    with open(os.path.join(tmp, "static", "10k.bin"), "wb") as file:
        file.write(random.Random(10).randbytes(10_000))
    with open(os.path.join(tmp, "static", "1m.bin"), "wb") as file:
        file.write(random.Random(1).randbytes(1_000_000))
    with open(os.path.join(tmp, "1g.bin"), "wb") as file:
        file.truncate(1 << 30)
    for answer in ("55", "2"):
        with open(os.path.join(tmp, "static", f"{answer}.txt"), "w") as file:
            file.write(answer)
    with open(os.path.join(tmp, "dataset.json"), "w") as file:
        file.write("[]")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30"
    command += f" -subj /CN=localhost -addext {names}"
    pair = [os.path.join(tmp, name) for name in ("cert.pem", "key.pem")]
    command = [*command.split(), "-out", pair[0], "-keyout", pair[1]]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with open(os.path.join(tmp, "both.pem"), "w") as both:
        both.write("".join(open(path).read() for path in pair))
    # A server that gives up root reads its key as another user.
    for path in (pair[1], os.path.join(tmp, "both.pem")):
        os.chmod(path, 0o644)
    return f"--cert {pair[0]} --key {pair[1]}"


def write_conf(name, tmp, port, site):
    """The peer's configuration out of its template in peers/, where it has one."""
    peer, _, kind = name.partition("-")
    if peer not in LISTENS:
        return
    listens = LISTENS[peer][{"": 0, "h2c": 1}.get(kind, 2)]
    with open(os.path.join(HERE, "peers", peer + ".conf")) as template:
        text = template.read()
    text = text.replace("SITE_ADDRESS", "http://" if kind in ("", "h2c") else "https://")
    text = text.replace("LISTENS", listens)
    text = text.replace("PORT", str(port)).replace("PREFIX", tmp).replace("SITE", site)
    # The body and proxy folders belong to the worker's user.
    os.chmod(tmp, 0o755)
    with open(os.path.join(tmp, peer + ".conf"), "w") as conf:
        conf.write(text)


def read_load(output):
    """(requests, requests per second, errors, 99th percentile) from what wrk or h2load printed."""
    h2load = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if h2load and int(h2load[2]) > 0:
        rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", output)
        return int(h2load[2]), float(rate[1]), int(h2load[3]) + int(h2load[4]), None
    handshakes = re.search(r"(\d+) connections in (\d+) real seconds", output)
    if handshakes and int(handshakes[1]) > 0:
        return int(handshakes[1]), int(handshakes[1]) / int(handshakes[2]), 0, None
    requests = re.search(r"(\d+) requests in", output)
    if not requests or int(requests[1]) == 0:
        sys.exit("the load generator got no answer:\n" + output[-2000:])
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", output)))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+(\S+)", output)
    errors += int(refused[1]) if refused else 0
    return int(requests[1]), float(rate[1]), errors, p99 and p99[1]


def generate(load, server):
    """Puts a load on a server; what the generator printed. One that hangs (h2load can, where a
    server ends its connections) is ended."""
    text = load.replace("PORT", str(server.port))
    run = ["timeout", str(LOAD_MAX), "taskset", "-c", str(LOAD_CPU), "bash", "-c", "exec " + text]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    return done.stdout + done.stderr


def one_round(server, load):
    total, user, system = server.cpu()
    output = generate(load, server)
    total_after, user_after, system_after = server.cpu()
    requests, rate, errors, p99 = read_load(output)
    micros = 1e6 / requests
    return {
        "us": (total_after - total) * micros,
        "user_us": (user_after - user) * micros,
        "system_us": (system_after - system) * micros,
        "rps": rate,
        "errors": errors,
        "p99": p99,
        "rss_kib": server.resident_kib(),
    }


def quartiles(values):
    ordered = sorted(values)
    at = lambda share: round(ordered[round(share * (len(ordered) - 1))], 3)
    return {"median": round(statistics.median(ordered), 3), "q1": at(0.25), "q3": at(0.75)}


def measure(name, rounds, seconds, binaries):
    load, connections, names = WORKS[name]
    load = load.format(connections=connections, seconds=seconds)
    servers, kept = [], {}
    try:
        for server in names:
            servers.append(Server(server, binaries))
        for round_index in range(rounds + 1):
            for server in servers:
                result = one_round(server, load)
                if round_index > 0:  # the first one warms up
                    kept.setdefault(server.name, []).append(result)
    finally:
        for server in servers:
            server.stop()
    return {"work": name, "load": load, "servers": summary(kept), "ratios": ratios(kept, names)}


def summary(kept):
    rows = {}
    for name, results in kept.items():
        middle = lambda key: round(statistics.median(r[key] for r in results), 3)
        rows[name] = {key: middle(key) for key in ("us", "user_us", "system_us", "rps", "rss_kib")}
        rows[name]["errors"] = sum(r["errors"] for r in results)
        rows[name]["p99"] = sorted(results, key=lambda r: r["us"])[len(results) // 2]["p99"]
    return rows


def ratios(kept, names):
    first = kept[names[0]]
    return {
        f"{names[0]} / {peer}": quartiles(a["us"] / b["us"] for a, b in zip(first, kept[peer]))
        for peer in names[1:]
    }


def show(result):
    print(f"\n{result['work']}: {result['load']}")
    print(f"  {'server':12} {'µs/request':>10} {'user':>6} {'system':>6} {'req/s':>9} {'p99':>9}")
    for name, row in result["servers"].items():
        print(
            f"  {name:12} {row['us']:10.3f} {row['user_us']:6.2f} {row['system_us']:6.2f}"
            f" {row['rps']:9.0f} {row['p99'] or '-':>9}"
            + (f"  {row['errors']} ERRORS" if row["errors"] else "")
        )
    for pair, q in result["ratios"].items():
        print(f"  {pair}: {q['median']:.3f}  [{q['q1']:.3f} .. {q['q3']:.3f}]", flush=True)


def print_table(directory):
    """The newest result of each work, as the table of bench/README.md."""
    print("| work | µs of CPU (user) | ÷ do-nothing ring | ÷ nginx | ÷ hyper |\n|---|---|---|---|---|")
    for name, (_, _, servers) in WORKS.items():
        files = sorted(f for f in os.listdir(directory) if f.endswith(f"-{name}.json"))
        if not files or not servers[0].startswith("ringway"):
            continue
        with open(os.path.join(directory, files[-1])) as file:
            result = json.load(file)
        ours, cells = result["servers"][servers[0]], []
        for peer in ("ring", "nginx", "hyper"):
            pairs = [f"{servers[0]} / {peer}{kind}" for kind in ("", "-h2c")]
            q = next((result["ratios"][pair] for pair in pairs if pair in result["ratios"]), None)
            cells.append(f"{q['median']:.2f} ({q['q1']:.2f}–{q['q3']:.2f})" if q else "–")
        print(f"| {name} | {ours['us']:.2f} ({ours['user_us']:.2f}) | {' | '.join(cells)} |")


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "network": "loopback",
    }


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def build(profile):
    command = ["cargo", "build", "-q", "-p", "ringway-bench", "--features", "peers,h3", "--bins"]
    subprocess.run(command + ["--profile", profile], cwd=ROOT, check=True)
    target = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")))
    # One that cannot be built is missing, and named so.
    environment = {**os.environ, "CARGO_TARGET_DIR": os.path.join(target, "peers")}
    for peer in H3_ALL:
        command = ["cargo", "build", "-q", "--locked", "--profile", profile, "-p", f"peer-{peer}"]
        subprocess.run(command, cwd=os.path.join(HERE, "peers", "h3"), env=environment)
    return os.path.join(target, profile)


def main():
    about, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("works", nargs="*", help="default: all; see --list")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round")
    parser.add_argument("--results", default=os.path.join(HERE, "results"), metavar="DIR")
    parser.add_argument("--bin", help="where the built programs are; default: build them")
    parser.add_argument("--profile", default="release", help="cargo profile to build")
    parser.add_argument("--list", action="store_true", help="name the works and stop")
    parser.add_argument("--table", action="store_true", help="print the newest results and stop")
    args = parser.parse_args()
    if args.table:
        print_table(args.results)
        return
    if args.list:
        for name, (_, connections, servers) in WORKS.items():
            print(f"{name}: {connections} connections on {', '.join(servers)}")
        return
    names = args.works or list(WORKS)
    for name in names:
        if name not in WORKS:
            sys.exit(f"no such work: {name} (--list names them)")
    packages = {
        "wrk": "wrk",
        "h2load": "nghttp2-client",
        "nginx": "nginx-light",
        "openssl": "openssl",
        "taskset": "util-linux",
    }
    if not any(server.startswith("nginx") for name in names for server in WORKS[name][2]):
        del packages["nginx"]
    for tool, package in packages.items():
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install {package}")
    binaries = args.bin or build(args.profile)
    today = datetime.date.today().isoformat()
    about = {"date": today, "machine": machine(), "wrk": version(["wrk", "-v"]),
             "nginx": version(["nginx", "-v"]), "rounds": args.rounds, "seconds": args.seconds}
    for name in names:
        result = measure(name, args.rounds, args.seconds, binaries)
        show(result)
        os.makedirs(args.results, exist_ok=True)
        with open(os.path.join(args.results, f"{today}-{name}.json"), "w") as file:
            json.dump({**about, **result}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
