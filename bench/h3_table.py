#!/usr/bin/env python3
"""HTTP/3's table: ringway beside quiche, tokio-quiche, quinn + h3, tquic and caddy.

    bench/h3_table.py [PART...] [--rounds N] [--seconds S] [--bin DIR] [--profile NAME] [--results DIR]
    bench/h3_table.py --report FILE     the table of earlier figures

Parts: works (baseline2 over 64 x 64, files of 10 KB and 1 MB), download (1 GiB on one connection),
handshakes (full, resumed, 0-RTT), segments (datagrams in a sendmsg), idle (memory of connections);
all of them when none is named. Servers have one worker on CPU 0, ringway-h3load is on CPU 1, payloads
are of 1,452 bytes at most; rounds alternate, figures are medians, ratios those within a round (see
measure.py). Beside the files, ringway's own HTTP/2 over TLS. Prints Markdown, writes h3-DATE.json.
"""

import argparse
import datetime
import json
import os
import re
import resource
import signal
import statistics
import sys
import time
import urllib.request

import compare
import measure

SERVERS = ["ringway-h3", *(f"{peer}-h3" for peer in measure.H3_ALL), "caddy-h3"]
H3LOAD = "{bin}/ringway-h3load -q --json -w 0 %s https://127.0.0.1:PORT%s"
H2LOAD = "h2load -t1 %s https://127.0.0.1:PORT%s"
SUM = "/baseline2?a=1\\&b=1"
TIMED = "-d {seconds} "
SHORT = TIMED + "-c 16 --short"
# name: (part, load over h3, the same over h2 for ringway, unit of the figure)
WORKS = {
    "baseline2, 64 × 64": ("works", H3LOAD % (TIMED + "-c 64 -m 64", SUM), None, "request"),
    "10 KB, 4 × 64": ("works", H3LOAD % (TIMED + "-c 4 -m 64", "/static/10k.bin"),
                       H2LOAD % ("-D{seconds} -c4 -m64", "/static/10k.bin"), "request"),
    "1 MB, 4 × 16": ("works", H3LOAD % ("-n 300 -d 20 -c 4 -m 16", "/static/1m.bin"),
                     H2LOAD % ("-n300 -c4 -m16", "/static/1m.bin"), "request"),
    "1 GiB, one stream": ("download", H3LOAD % ("-n 1 -d 40 --window 16777216", "/1g.bin"), None, "download"),
    "full handshake": ("handshakes", H3LOAD % (SHORT, SUM), None, "handshake"),
    "resumed handshake": ("handshakes", H3LOAD % (SHORT + " --resume", SUM), None, "handshake"),
    "0-RTT": ("handshakes", H3LOAD % (SHORT + " --resume --early", SUM), None, "handshake"),
}
PARTS = ["works", "download", "handshakes", "segments", "idle"]
IDLE = 1000
GIBIBYTE = 1 << 30
# Rounds of those, which take seconds each.
DOWNLOADS = 5


def said(output):
    """ringway-h3load's JSON."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(output.strip()[-200:] or "the load generator said nothing")
    return json.loads(lines[-1])


def one_round(server, load):
    before = server.cpu()
    output = measure.generate(load, server)
    after = server.cpu()
    if load.startswith("h2load"):
        requests, rate, errors, _ = measure.read_load(output)
        row = {"requests": requests, "rps": rate, "errors": errors}
    else:
        found = said(output)
        row = {"requests": found["requests"], "rps": found["requests_per_second"], "errors": found["failed"],
               "statuses": found["statuses"], "body_bytes": found["body_bytes"], "handshakes": found["handshakes"],
               "datagrams": found["datagrams_received"]}
    if not row["requests"]:
        raise SystemExit(f"no request was answered: {output.strip()[-200:]}")
    for name, index in (("us", 0), ("user_us", 1), ("system_us", 2)):
        row[name] = (after[index] - before[index]) * 1e6 / row["requests"]
    return row


def wanted_kind(work, row):
    """Whether a round did what its work is called."""
    if work.startswith("1 GiB"):
        return row["body_bytes"] == GIBIBYTE
    kinds = row.get("handshakes") or {}
    share = lambda kind: kinds[kind] / max(1, sum(kinds.values()))
    if work == "0-RTT":
        return share("early") > 0.9
    return work != "resumed handshake" or share("resumed") + share("early") > 0.9


def compare_work(work, args, bin):
    _, load, own, unit = WORKS[work]
    load = load.format(bin=bin, seconds=args.seconds)
    loads = {name: load for name in SERVERS} | ({"ringway-tls": own.format(seconds=args.seconds)} if own else {})
    servers, kept, missing = {}, {}, {}
    try:
        for name in loads:
            try:
                servers[name] = measure.Server(name, bin)
                warm = one_round(servers[name], loads[name])
                if not wanted_kind(work, warm):
                    raise SystemExit(f"did not do this: {json.dumps(warm)[:300]}")
            except (SystemExit, OSError, KeyError) as error:
                missing[name] = " ".join(str(error).split())[:200]
                if name in servers:
                    servers.pop(name).stop()
        for _ in range(min(args.rounds, DOWNLOADS) if unit == "download" else args.rounds):
            for name, server in list(servers.items()):
                try:
                    kept.setdefault(name, []).append(one_round(server, loads[name]))
                except SystemExit as error:
                    missing[name] = " ".join(str(error).split())[:200]
                    kept.pop(name)
                    servers.pop(name).stop()
        resident = {name: server.resident_kib() for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.stop()
    rows = {name: {**summary(rounds), "resident_kib": resident[name]} for name, rounds in kept.items()}
    own = kept.get("ringway-h3", [])
    ratios = {name: measure.quartiles(a["us"] / b["us"] for a, b in zip(own, kept[name]))
              for name in rows if own and name != "ringway-h3"}
    return {"load": load.replace(bin + "/", ""), "unit": unit, "servers": rows, "missing": missing, "ratios": ratios}


def summary(rounds):
    row = {key: round(statistics.median(r[key] for r in rounds), 3) for key in ("us", "user_us", "system_us", "rps")}
    row["errors"] = sum(r["errors"] for r in rounds)
    row["rounds"] = [round(r["us"], 3) for r in rounds]
    if "handshakes" in rounds[0]:
        row["handshakes"] = {kind: sum(r["handshakes"][kind] for r in rounds) for kind in rounds[0]["handshakes"]}
    return row


def segments(args, bin):
    """Datagrams that ringway puts into a sendmsg, work by work, by its own counters."""
    found = {}
    for work in ("baseline2, 64 × 64", "10 KB, 4 × 64", "1 MB, 4 × 16", "1 GiB, one stream"):
        server = measure.Server("ringway-h3-metrics", bin)
        try:
            load = WORKS[work][1].format(bin=bin, seconds=args.seconds)
            one_round(server, load)
            with urllib.request.urlopen(f"http://127.0.0.1:{server.second_port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            count = lambda name: int(re.search(rf"^ringway_quic_{name}_total (\d+)", text, re.M)[1])
            found[work] = {"messages": count("batches"), "datagrams": count("segments")}
        finally:
            server.stop()
    return found


def idle(bin):
    """Private memory for each idle connection."""
    found = {}
    for name in SERVERS:
        try:
            server = measure.Server(name, bin)
        except SystemExit:
            continue
        try:
            found[name] = compare.idle_memory(server, "-h3", IDLE, bin)
        finally:
            server.stop()
    return {"connections": IDLE, "bytes": found}


def short_name(name):
    return {"ringway-tls": "ringway, HTTP/2 over TLS"}.get(name, name.removesuffix("-h3"))


def figure(work, row):
    if work["unit"] == "download":
        return f"{GIBIBYTE / row['us']:,.0f} MB per CPU second"
    if work["unit"] == "handshake":
        return f"{1e6 / row['us']:,.0f} per CPU second ({row['us']:.0f} µs)"
    return f"{row['us']:.2f} µs (user {row['user_us']:.2f})"


def table(result):
    lines = ["| work | server | server CPU | ringway's CPU ÷ its | a second, with the generator's one core |",
             "|---|---|---|---|---|"]
    for name, work in result["works"].items():
        for server, row in work["servers"].items():
            ratio = compare.cell(work["ratios"].get(server), server == "ringway-h3")
            errors = f", {row['errors']} errors" if row["errors"] else ""
            rate = f"{row['rps']:,.0f}" if row["rps"] >= 10 else f"{row['rps']:.2f}"
            lines.append(f"| {name} | {short_name(server)} | {figure(work, row)} | {ratio} | {rate}{errors} |")
        for server, why in work["missing"].items():
            lines.append(f"| {name} | {short_name(server)} | missing: {why.replace('|', '/')} | – | – |")
    if result["idle"]:
        lines += ["", f"| server | bytes an idle connection, of {result['idle']['connections']:,} |", "|---|---|"]
        for server, held in result["idle"]["bytes"].items():
            lines.append(f"| {short_name(server)} | {'–' if held is None else f'{held:,}'} |")
    if result["segments"]:
        lines += ["", "| work | ringway's datagrams in a sendmsg |", "|---|---|"]
        lines += [f"| {work} | {row['datagrams'] / max(1, row['messages']):.1f} |" for work, row in result["segments"].items()]
    return "\n".join(lines)


def facts(result):
    m = result["machine"]
    others = f", with other work on the machine (load average {m['load_average']:.0f}): trust the ratios" if m["load_average"] >= 1 else ""
    present = ", ".join(filter(None, (result["versions"].get(name) for name in ("quiche", "tokio-quiche", "quinn", "tquic"))))
    return (f"{result['date']}, commit {result['commit']}, profile {result['profile']} (peers: {result['peers_profile']}); {m['cpu']}, "
            f"{m['cores']} shared cores, Linux {m['kernel']}, loopback; medians of {result['rounds']} alternating rounds of "
            f"{result['seconds']} s{others}. {present}, caddy {result['versions']['caddy']}.")


def main():
    about, _, _ = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round")
    parser.add_argument("--results", default=os.path.join(measure.HERE, "results"), metavar="DIR")
    parser.add_argument("--bin", help="where the built programs are; default: build them")
    parser.add_argument("--profile", default="release", help="cargo profile to build")
    parser.add_argument("--report", metavar="FILE")
    args = parser.parse_args()
    if args.report:
        with open(args.report) as file:
            result = json.load(file)
        return print(facts(result) + "\n\n" + table(result))
    parts = args.parts or PARTS
    for part in parts:
        if part not in PARTS:
            sys.exit(f"no such part: {part} (there are {', '.join(PARTS)})")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16), hard))
    bin = os.path.abspath(args.bin) if args.bin else measure.build(args.profile)
    run(args, parts, bin)


def run(args, parts, bin):
    peers = {os.path.basename(os.path.dirname(measure.h3_peer(peer, bin) or "-/none/-")) for peer in measure.H3_ALL}
    result = {"date": datetime.date.today().isoformat(), "commit": compare.commit(),
              "profile": args.profile if not args.bin else os.path.basename(bin), "peers_profile": ", ".join(sorted(peers)),
              "machine": {**measure.machine(), "load_average": os.getloadavg()[0]}, "versions": compare.versions(),
              "rounds": args.rounds, "seconds": args.seconds, "works": {}, "segments": {}, "idle": {}}
    os.makedirs(args.results, exist_ok=True)
    path = os.path.join(args.results, f"h3-{result['date']}.json")
    begun = time.monotonic()

    def save(what, since):
        now = time.monotonic()
        print(f"{what}: {now - since:.0f} s; {(now - begun) / 60:.1f} min in all", file=sys.stderr, flush=True)
        with open(path, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")

    for work, (part, *_) in WORKS.items():
        if part in parts:
            since = time.monotonic()
            result["works"][work] = compare_work(work, args, bin)
            save(work, since)
    for part, take in (("segments", lambda: segments(args, bin)), ("idle", lambda: idle(bin))):
        if part in parts:
            since = time.monotonic()
            result[part] = take()
            save(part, since)
    print(facts(result) + "\n\n" + table(result))


if __name__ == "__main__":
    main()
