#!/usr/bin/env python3
"""The lab's report: one page with tables and plots, from what `lab --results DIR` wrote.

    bench/lab_report.py [DIR]       default: bench/results; writes DIR/lab.html and DIR/lab-*.svg

Every sentence with a figure is made from the JSON, and states whether the expectation
came true.
"""

import json
import os
import sys
from html import escape

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot

HERE = os.path.dirname(os.path.abspath(__file__))
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 3rem }
table { border-collapse: collapse; font-size: 0.9rem; margin: 1rem 0 }
td, th { border: 1px solid #ccc; padding: 0.2rem 0.6rem; text-align: right }
td:first-child, th:first-child { text-align: left }
svg { max-width: 100%; height: auto; display: block; margin: 1rem 0 }
.met { color: #1a7f37 } .missed { color: #b42318 } .facts { color: #555; font-size: 0.9rem }
"""
WAYS = ["h1, one connection each", "h1, 6 connections", "h2", "h3"]


class Section:
    """A heading with tables, plots and claims."""

    def __init__(self, title, about):
        self.parts = [f"<h2>{escape(title)}</h2>", f"<p>{escape(about)}</p>"]
        self.plots = []

    def claim(self, text, holds):
        word = ("met", "missed")[not holds]
        self.parts.append(f'<p><b class="{word}">{word}</b>: {escape(text)}</p>')

    def say(self, text):
        self.parts.append(f"<p>{escape(text)}</p>")

    def table(self, columns, rows):
        cells = lambda tag, row: "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in row)
        body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
        self.parts.append(f"<table><tr>{cells('th', columns)}</tr>{body}</table>")

    def plot(self, name, svg):
        self.plots.append((name, svg))
        self.parts.append(svg)


def page(result):
    section = Section(
        "A page and its resources",
        "Fresh connections, TLS 1.3: the document of 10 KB first, then all that it refers to (12 KB each "
        "in the mean), over 100 Mbit/s. Loss is that of each direction.",
    )
    cells = {(c["resources"], c["rtt_ms"], c["loss"], c["way"]): c["median_ms"] for c in result["cells"]}
    values = lambda index: sorted({key[index] for key in cells})
    for size in values(0):
        rows = []
        for rtt in values(1):
            for loss in values(2):
                times = [cells.get((size, rtt, loss, way)) for way in WAYS]
                shown = [f"{time:.0f}" if time else "–" for time in times]
                rows.append([f"{rtt} ms, {loss * 100:g} %", *shown])
        section.table([f"{size} resources", *(f"{way}, ms" for way in WAYS)], rows)
        at = lambda rtt, loss, way: cells.get((size, rtt, loss, way))
        for kind, across, xs, pick in (
            ("rtt", "round trip, ms (no loss)", values(1), lambda x, way: at(x, 0.0, way)),
            ("loss", "loss, % (50 ms)", [v * 100 for v in values(2)], lambda x, way: at(50, x / 100, way)),
        ):
            series = {way: [(x, pick(x, way)) for x in xs if pick(x, way)] for way in WAYS[1:]}
            series = {way: line for way, line in series.items() if line}
            svg = plot.lines(f"{size} resources: page load", across, "ms", series)
            section.plot(f"lab-page-{size}-{kind}", svg)
        old = at(50, 0.0, WAYS[0])
        for way, most in (("h2", 0.6), ("h3", 0.4)):
            if old and at(50, 0.0, way):
                ratio = at(50, 0.0, way) / old
                text = f"at 50 ms, {size} resources over {way} take {ratio:.2f} of one h1 connection each"
                section.claim(f"{text} (expected: at most {most})", ratio <= most)
        six = at(50, 0.0, WAYS[1])
        if six:
            ratios = [f"{way} {at(50, 0.0, way) / six:.2f}" for way in WAYS[2:] if at(50, 0.0, way)]
            section.say(f"Of six h1 connections, as browsers have them, at 50 ms: {', '.join(ratios)}.")
        for loss in [v for v in values(2) if v > 0]:
            h2, h3 = at(50, loss, "h2"), at(50, loss, "h3")
            if h2 and h3:
                text = f"at 50 ms and {loss * 100:g} % loss h3 takes {h3 / h2:.2f} of h2"
                section.claim(f"{text} (expected: less than 1)", h3 < h2)
        fastest = []
        for rtt in values(1):
            for loss in values(2):
                times = {way: at(rtt, loss, way) for way in WAYS if at(rtt, loss, way)}
                fastest.append(min(times, key=times.get))
        wins = ", ".join(f"{way} {fastest.count(way)}" for way in WAYS if fastest.count(way))
        section.say(f"Fastest in how many of the {len(fastest)} cells of {size} resources: {wins}.")
    return section


def hol(result):
    section = Section(
        "Head-of-line blocking",
        "A request that takes 500 ms and a fast one behind it on the same connection; then "
        f"{result['streams']} answers in one flight of which one packet is dropped.",
    )
    columns = ["protocol", "fast, ms", "÷ RTT", "slow, ms"]
    rows = [[r["protocol"], f"{r['fast_ms']:.0f}", f"{r['fast_rtts']:.2f}", f"{r['slow_ms']:.0f}"] for r in result["slow"]]
    section.table(columns, rows)
    section.plot("lab-hol-slow", plot.bars("The fast request, behind a slow one", "ms", [(r["protocol"], r["fast_ms"]) for r in result["slow"]]))
    for row in result["slow"]:
        if row["protocol"] == "h1":
            section.claim(f"over h1 the fast request waits for the slow one: {row['fast_ms']:.0f} ms", row["fast_rtts"] > 5)
        else:
            section.claim(f"over {row['protocol']} it takes {row['fast_rtts']:.2f} round trips (expected: below 1.2)", row["fast_rtts"] < 1.2)
    late = {}
    for row in result["lost"]:
        late.setdefault(row["protocol"], []).append(row["late_streams"])
    middle = {name: sorted(values)[len(values) // 2] for name, values in late.items()}
    section.table(["protocol", "late answers, median", "each run"], [[n, middle[n], late[n]] for n in late])
    section.plot("lab-hol-loss", plot.bars(f"One packet lost: answers late, of {result['streams']}", "answers", list(middle.items())))
    if "h3" in middle:
        section.claim(f"one lost packet holds up {middle['h2']} of {result['streams']} answers over h2 and {middle['h3']} over h3", middle["h3"] < middle["h2"])
    return section


def handshake(result):
    section = Section(
        "Handshakes",
        f"Round trips of {result['rtt_ms']:.0f} ms, and packets, from the first packet to the first byte of an "
        "answer. The certificate is one of 0.5 KB: real chains are longer.",
    )
    columns = ["handshake", "round trips", "with the request", "first byte, ms", "packets up", "packets down"]
    keys = ["ready_rtts", "first_byte_rtts", "first_byte_ms", "packets_up", "packets_down"]
    section.table(columns, [[r["name"], *(f"{r[key]:.0f}" for key in keys)] for r in result["rows"]])
    section.plot("lab-handshake", plot.bars("Round trips until an answer begins", "round trips", [(r["name"], r["first_byte_rtts"]) for r in result["rows"]]))
    expected = {"TCP alone": 2, "TCP + TLS 1.2": 4, "TCP + TLS 1.2, resumed": 3, "TCP + TLS 1.3": 3,
                "TCP + TLS 1.3, resumed": 3, "QUIC": 2, "QUIC, resumed": 2, "QUIC, 0-RTT": 1}
    for row in result["rows"]:
        wanted, found = expected[row["name"]], row["first_byte_rtts"]
        section.claim(f"{row['name']}: {found:.0f} round trips (expected: {wanted})", found == wanted)
    return section


def headers(result):
    section = Section(
        "Bytes of fields",
        f"{result['requests']} requests with a browser's fields on one connection, each asked for after the "
        "answer before. The frame's head is included.",
    )
    keys = ["request_first", "request_hundredth", "requests_all", "answer_first", "answer_hundredth", "answers_all"]
    columns = ["protocol", "request 1", "request 100", "all requests", "answer 1", "answer 100", "all answers"]
    section.table(columns, [[r["protocol"], *(r[key] for key in keys)] for r in result["rows"]])
    pairs = [(f"{r['protocol']}, request {n}", r[f"request_{key}"]) for r in result["rows"] for n, key in ((1, "first"), (100, "hundredth"))]
    section.plot("lab-headers", plot.bars("A request's fields", "bytes", pairs))
    return section


def bundle(result):
    section = Section(
        "Bundling",
        f"{result['files']} files of 2 KiB, or one file of the same bytes, after a tiny document, over {result['rtt_ms']:.0f} ms.",
    )
    columns = ["way", "loss", "files, ms", "bundle, ms", "files ÷ bundle"]
    section.table(columns, [[r["way"], f"{r['loss'] * 100:g} %", f"{r['many_ms']:.0f}", f"{r['bundle_ms']:.0f}", f"{r['ratio']:.2f}"] for r in result["rows"]])
    clean = [r for r in result["rows"] if r["loss"] == 0]
    section.plot("lab-bundle", plot.bars("Many files ÷ bundle, no loss", "ratio", [(r["way"], r["ratio"]) for r in clean]))
    for row in clean:
        if row["way"] in ("h2", "h3"):
            section.claim(f"over {row['way']} {result['files']} files take {row['ratio']:.2f} of their bundle (expected: at most 1.15)", row["ratio"] <= 1.15)
    return section


def priority(result):
    section = Section(
        "Priorities",
        "20 KB of CSS, asked for when 1 MB of a 10 MB image has come, over 20 Mbit/s and 50 ms. What the server has "
        "written into its socket cannot be overtaken: over h2 that is what is in flight, and http2.unsent_bytes (128 KiB).",
    )
    rows = [(f"{r['protocol']}, {r['how']}", r["css_ms"]) for r in result["rows"]]
    section.table(["way", "CSS, ms"], [[name, f"{ms:.0f}"] for name, ms in rows])
    section.plot("lab-priority", plot.bars("When the CSS is there", "ms", rows))
    found = {(r["protocol"], r["how"]): r["css_ms"] for r in result["rows"]}
    queued = found[("h1", "one connection")]
    for protocol in ("h2", "h3"):
        if (protocol, "no priorities") in found:
            plain, urgent = found[(protocol, "no priorities")], found[(protocol, "u=0 beside u=5")]
            section.claim(
                f"over {protocol} the CSS overtakes the image: {urgent:.0f} ms, and {plain:.0f} ms where only its type speaks for it, "
                f"instead of {queued:.0f} ms behind it (expected: at most a fifth)",
                max(plain, urgent) <= queued / 5,
            )
    return section


def migration(result):
    section = Section(
        "A change of address",
        "10 MB over 40 Mbit/s and 50 ms; after 4 MB the client's address and port change. Over TCP the client connects "
        "again as soon as it is told (a reset, one round trip later) and asks for the rest.",
    )
    rows = [[f"{r['protocol']}, {'moves' if r['moves'] else 'stays'}", f"{r['took_ms']:.0f}", f"{r['gap_ms']:.0f}", f"{r['connections']:.0f}"] for r in result["rows"]]
    section.table(["client", "download, ms", "longest pause, ms", "connections"], rows)
    moved = [r for r in result["rows"] if r["moves"]]
    section.plot("lab-migration", plot.bars("Longest pause after the change", "ms", [(r["protocol"], r["gap_ms"]) for r in moved]))
    for row in moved:
        if row["protocol"] == "h3":
            section.claim(f"over h3 one connection carries the whole download, with a pause of {row['gap_ms']:.0f} ms", row["connections"] == 1)
        else:
            section.claim(f"over {row['protocol']} it takes {row['connections']:.0f} connections, with a pause of {row['gap_ms']:.0f} ms", row["connections"] == 2)
    return section


def initcwnd(result):
    section = Section(
        "The first flight",
        f"A page of {result['bytes']:,} bytes over {result['rtt_ms']:.0f} ms, from the end of the handshake on; the route's "
        "initcwnd as the kernel has it, and as ringway tune sets it.",
    )
    name = lambda r: f"{r['protocol']}, window of {r['segments']}"
    columns = ["connection", "first flight, packets", "page, ms", "round trips"]
    section.table(columns, [[name(r), f"{r['first_flight']:.0f}", f"{r['page_ms']:.0f}", f"{r['round_trips']:.0f}"] for r in result["rows"]])
    section.plot("lab-initcwnd", plot.bars("From the request to the last byte", "ms", [(name(r), r["page_ms"]) for r in result["rows"]]))
    by = {}
    for row in result["rows"]:
        by.setdefault(row["protocol"], []).append(row)
    for protocol, (narrow, wide) in by.items():
        saved = narrow["round_trips"] - wide["round_trips"]
        text = f"{protocol}: a first flight of {wide['first_flight']:.0f} packets instead of {narrow['first_flight']:.0f} saves {saved:.0f} round trip(s)"
        section.claim(f"{text} (expected: 1)", saved == 1)
    return section


SECTIONS = [page, hol, handshake, headers, bundle, priority, migration, initcwnd]


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "results")
    sections, about, commits = [], None, []
    for make in SECTIONS:
        path = os.path.join(directory, f"lab-{make.__name__}.json")
        if not os.path.exists(path):
            print(f"no {path}: the report goes without", file=sys.stderr)
            continue
        with open(path) as file:
            result = json.load(file)
        about = about or result
        commits += [result["commit"]] * (result["commit"] not in commits)
        sections.append(make(result))
    if not sections:
        sys.exit(f"nothing to report in {directory}")
    for section in sections:
        for name, svg in section.plots:
            with open(os.path.join(directory, name + ".svg"), "w") as file:
                file.write(svg)
    m = about["machine"]
    facts = (
        f"{about['date']}, commit {', '.join(commits)}; {m['cpu']}, {m['cores']} cores, Linux {m['kernel']}, TCP congestion "
        f"control {m['congestion_control']}. Medians of {about['repeats']} runs. The machine was shared with other work "
        f"(load average {m['load_average']}): the links sleep most of the time, but figures of a few milliseconds carry it."
    )
    body = "".join("".join(section.parts) for section in sections)
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>ringway: the lab</title><style>{STYLE}</style>'
        f'<h1>What each protocol buys</h1><p class="facts">{escape(facts)}</p>{body}</html>\n'
    )
    with open(os.path.join(directory, "lab.html"), "w") as file:
        file.write(html)


main()
