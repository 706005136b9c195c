#!/usr/bin/env python3
"""Plots of the codecs beside their peers (bench/results/codecs-*.svg), from the tables of bench/results/codecs.md.

One plot for each codec: nanoseconds of ours with AVX-512, or AVX2 where the machine has no more, and of each peer."""

import os
import re

import plot

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


def tables(text):
    """Each table as (names of the columns, rows of cells)."""
    for block in re.split(r"\n\n", text):
        lines = [line.strip().strip("|").split("|") for line in block.splitlines() if line.startswith("|")]
        if len(lines) > 2:
            rows = [[cell.strip() for cell in line] for line in lines]
            yield rows[0], rows[2:]


def bars(columns, row):
    """The named times of one benchmark: peers, and the widest vectors of ours that there are."""
    times = {name: float(cell.split()[0]) for name, cell in zip(columns[1:], row[1:]) if cell}
    ours = [name for name in ("ringway avx512", "ringway avx2", "ringway template", "ringway") if name in times]
    kept = ours[:1] + [name for name in times if not name.startswith("ringway")]
    # Peers that are out of the others' range would leave nothing to be seen of them.
    least = min(times.values())
    work = re.sub(r"^\w+[ -]", "", row[0])
    names = {name: name.split()[0].removesuffix("-hpack") for name in kept}
    return [(f"{work}: {names[name]}", times[name]) for name in kept if times[name] < 20 * least]


def main():
    with open(os.path.join(RESULTS, "codecs.md")) as file:
        for columns, rows in tables(file.read()):
            codec = re.split(r"[ -]", rows[0][0])[0]
            drawn = [bar for row in rows for bar in bars(columns, row)]
            with open(os.path.join(RESULTS, f"codecs-{codec}.svg"), "w") as svg:
                svg.write(plot.bars(f"{codec}: time of ours and of peers", "ns", drawn))


if __name__ == "__main__":
    main()
