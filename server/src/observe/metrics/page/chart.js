// A card with a chart: legend with the latest values, the plot, and a table of exact figures.
// A point is {at, values}: milliseconds, and by series a number, or null where there is none.

import { clock, count, decades, ticks } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 50;
const BOTTOM = 20;
const TOP = 8;
/** A pause between points that is longer than this is a gap. */
const GAP = 3500;

/** An element with attributes and children; text stays text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A swatch in a series' colour. */
function swatch(series, isLine) {
  const made = element("i", { class: isLine ? "swatch line" : "swatch", "aria-hidden": "true" });
  made.style.color = `var(--${series.colour})`;
  return made;
}

/**
 * What a chart shows: `title`, `unit`, `format` (of values), `series` ({key, name, colour, total},
 * where the total is a path in the document or made of it), `stacked` or `log`, `empty` (what to say without points), and `rows` (further exact figures).
 */
export class Chart {
  constructor(spec) {
    this.spec = spec;
    this.points = [];
    this.cursor = null;
    const id = `chart-${spec.id}`;
    this.legend = spec.series.map((series) => element("b", {}, "–"));
    const items = spec.series.map((series, at) =>
      element("li", {}, swatch(series, !spec.stacked), series.name, this.legend[at]));
    this.svg = shape("svg", { "aria-hidden": "true" });
    this.empty = element("p", { class: "empty" }, spec.empty);
    this.tip = element("div", { class: "tip", "aria-hidden": "true" });
    this.said = element("p", { class: "unseen", "aria-live": "polite" });
    this.plot = element("div", {
      class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart",
      "aria-label": `${spec.title}, ${spec.unit}. Left and right arrow keys read single seconds.`,
    }, this.svg, this.empty, this.tip);
    this.tip.hidden = true;
    this.body = element("tbody");
    this.card = element("article", { class: "card", "aria-labelledby": id },
      element("header", {}, element("h3", { id }, spec.title),
        element("p", { class: "unit" }, spec.unit)),
      element("ul", { class: "legend" }, ...items),
      this.plot, this.said, this.table());
    this.listen();
  }

  table() {
    const heads = ["Series", "Now", "Mean", "Highest", "Since start"];
    const head = heads.map((text, at) =>
      element("th", { scope: "col", class: at ? "number" : "grow" }, text));
    const tables = [element("table", {}, element("thead", {}, element("tr", {}, ...head)),
      this.body)];
    if (this.spec.rows) {
      this.more = element("tbody");
      const heads = [element("th", { scope: "col", class: "grow" }, this.spec.rowsTitle),
        element("th", { scope: "col", class: "number" }, "Since start")];
      tables.push(element("table", {},
        element("thead", {}, element("tr", {}, ...heads)), this.more));
    }
    this.details = element("details", {}, element("summary", {}, "Exact figures"),
      element("div", { class: "scroll" }, ...tables));
    return this.details;
  }

  listen() {
    new ResizeObserver(() => this.draw()).observe(this.plot);
    const at = (event) => {
      const box = this.plot.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT);
      return this.from + share * (this.to - this.from);
    };
    const point = (event) => this.point(at(event));
    this.plot.addEventListener("pointermove", point);
    this.plot.addEventListener("pointerdown", point);
    this.plot.addEventListener("pointerleave", () => this.point(null));
    this.plot.addEventListener("blur", () => this.point(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const shown = this.shown ?? [];
    if (shown.length === 0) return;
    const here = this.cursor == null ? shown.length : this.nearest(this.cursor);
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: shown.length - 1 };
    if (event.key === "Escape") return this.point(null);
    if (!(event.key in to)) return;
    event.preventDefault();
    const point = shown[Math.min(Math.max(to[event.key], 0), shown.length - 1)];
    this.point(point.at);
    const values = this.spec.series.map((series) =>
      `${series.name} ${this.spec.format(point.values[series.key])}`);
    this.said.textContent = `${clock(point.at)}: ${values.join(", ")}`;
  }

  point(at) {
    this.cursor = at;
    this.drawCursor();
  }

  nearest(at) {
    let best = 0;
    for (const [index, point] of this.shown.entries()) {
      if (Math.abs(point.at - at) < Math.abs(this.shown[best].at - at)) best = index;
    }
    return best;
  }

  /** Shows these points, from one time to another, and exact figures of `stats`. */
  show(points, from, to, stats) {
    Object.assign(this, { points, from, to });
    this.shown = points.filter((point) => point.at >= from && point.at <= to);
    const last = this.shown.at(-1);
    for (const [at, series] of this.spec.series.entries()) {
      this.legend[at].textContent = this.spec.format(last?.values[series.key]);
    }
    this.fill(last, stats);
    this.draw();
  }

  fill(last, stats) {
    const rows = this.spec.series.map((series) => {
      const values = this.shown.map((point) => point.values[series.key]).filter((n) => n != null);
      const mean = values.length ? values.reduce((sum, n) => sum + n, 0) / values.length : null;
      const highest = values.length ? Math.max(...values) : null;
      const cells = [last?.values[series.key], mean, highest].map((n) =>
        element("td", { class: "number" }, this.spec.format(n)));
      const { total: of } = series;
      const total = typeof of === "string" ? exact(stats, of, this.spec.exact) : count(of(stats));
      return element("tr", {}, element("th", { scope: "row" }, series.name), ...cells,
        element("td", { class: "number" }, total));
    });
    this.body.replaceChildren(...rows);
    if (!this.more) return;
    const more = this.spec.rows(stats).map(([name, path]) => element("tr", {},
      element("th", { scope: "row" }, name),
      element("td", { class: "number" }, exact(stats, path))));
    const none = element("tr", {}, element("td", { colspan: "2" }, "none"));
    this.more.replaceChildren(...(more.length ? more : [none]));
  }

  /** Where the axes lie, and from values to pixels. */
  scales() {
    const { width, height } = this.plot.getBoundingClientRect();
    const right = width;
    const base = height - BOTTOM;
    const x = (at) => LEFT + ((at - this.from) / (this.to - this.from)) * (right - LEFT);
    const tops = this.shown.flatMap((point) => {
      const values = this.spec.series.map((series) => point.values[series.key] ?? 0);
      return this.spec.stacked ? [values.reduce((sum, n) => sum + n, 0)] : values;
    });
    if (this.spec.log) {
      const there = tops.filter((n) => n > 0);
      const marks = there.length ? decades(Math.min(...there), Math.max(...there)) : [0.1, 1, 10];
      const [low, high] = [Math.log10(marks[0]), Math.log10(marks.at(-1))];
      const y = (n) =>
        base - ((Math.log10(Math.max(n, marks[0])) - low) / (high - low)) * (base - TOP);
      return { x, y, marks, base, right };
    }
    const marks = ticks(Math.max(...tops, this.spec.least ?? 1), this.spec.whole);
    const y = (n) => base - (n / marks.at(-1)) * (base - TOP);
    return { x, y, marks, base, right };
  }

  draw() {
    if (!this.shown || this.plot.clientWidth === 0) return;
    const scales = this.scales();
    this.at = scales;
    const parts = [...this.axes(scales)];
    const is = (series) => this.shown.some((point) => point.values[series.key] != null);
    const any = this.spec.series.some(is);
    this.empty.hidden = any;
    if (any) parts.push(...(this.spec.stacked ? this.areas(scales) : this.lines(scales)));
    this.over = shape("g", {});
    this.svg.replaceChildren(...parts, this.over);
    this.drawCursor();
  }

  *axes({ x, y, marks, base, right }) {
    for (const mark of marks) {
      const at = Math.round(y(mark)) + 0.5;
      yield shape("line", { class: mark === marks[0] ? "base" : "rule", x1: LEFT, x2: right,
        y1: at, y2: at });
      const label = (this.spec.tick ?? this.spec.format)(mark);
      yield shape("text", { x: LEFT - 8, y: at + 3.5, "text-anchor": "end" }, label);
    }
    const span = (this.to - this.from) / 1000;
    // A label takes 48 pixels; at the left end it would stand below the other axis' labels.
    const most = Math.max(Math.floor((right - LEFT) / 48), 1);
    const step = [15, 30, 60, 120, 180, 300].find((each) => span / each <= most) ?? 600;
    for (let ago = 0; ago <= span && x(this.to - ago * 1000) >= LEFT + 16; ago += step) {
      const at = x(this.to - ago * 1000);
      const text = ago % 60 ? `−${ago} s` : `−${ago / 60} min`;
      yield shape("text", { x: at, y: base + 16, "text-anchor": ago ? "middle" : "end" },
        ago ? text : "now");
    }
  }

  /** Runs of points without a gap in which `value` is a number. */
  runs(value) {
    const runs = [];
    let before = null;
    for (const point of this.shown) {
      const n = value(point);
      if (n == null) {
        before = null;
        continue;
      }
      if (before == null || point.at - before > GAP) runs.push([]);
      runs.at(-1).push([point, n]);
      before = point.at;
    }
    return runs;
  }

  lines({ x, y }) {
    return this.spec.series.flatMap((series) =>
      this.runs((point) => point.values[series.key]).map((run) => {
        const path = run.map(([point, n]) => `${x(point.at).toFixed(1)},${y(n).toFixed(1)}`);
        // A single point is drawn too.
        if (path.length === 1) path.push(path[0].replace(/^[\d.]+/, (n) => Number(n) + 1));
        return this.coloured(series, shape("path", { class: "trace", d: `M${path.join("L")}` }));
      }));
  }

  areas({ x, y }) {
    const sums = (point, upTo) => this.spec.series.slice(0, upTo)
      .reduce((sum, series) => sum + (point.values[series.key] ?? 0), 0);
    return this.spec.series.flatMap((series, at) =>
      this.runs((point) => point.values[series.key]).map((run) => {
        const edge = (upTo) => run.map(([point]) =>
          `${x(point.at).toFixed(1)},${y(sums(point, upTo)).toFixed(1)}`);
        const d = `M${edge(at + 1).join("L")}L${edge(at).reverse().join("L")}Z`;
        return this.coloured(series, shape("path", { class: "area", d }));
      }));
  }

  coloured(series, made) {
    made.style.color = `var(--${series.colour})`;
    return made;
  }

  drawCursor() {
    if (!this.over) return;
    const point = this.cursor == null ? null : this.shown[this.nearest(this.cursor)];
    this.tip.hidden = !point;
    if (!point) return this.over.replaceChildren();
    const { x, y, base, right } = this.at;
    const at = x(point.at);
    const parts = [shape("line", { class: "cursor", x1: at, x2: at, y1: TOP, y2: base })];
    const rows = [element("p", {}, clock(point.at))];
    let sum = 0;
    for (const series of this.spec.series) {
      const n = point.values[series.key];
      const row = element("div", {}, swatch(series, !this.spec.stacked), series.name,
        element("b", {}, this.spec.format(n)));
      rows.push(row);
      if (n == null) continue;
      sum = this.spec.stacked ? sum + n : n;
      const dot = shape("circle", { class: "dot", cx: at, cy: y(sum), r: 3.5 });
      parts.push(this.coloured(series, dot));
    }
    this.over.replaceChildren(...parts);
    this.tip.replaceChildren(...rows);
    const room = this.tip.offsetWidth + 14;
    this.tip.style.left = `${at + room > right ? at - room : at + 14}px`;
  }
}

/** The figure at a path of the document, with its exact value. */
export function exact(stats, path, format = count) {
  const value = path.split("/").reduce((at, key) => at?.[key], stats);
  return element("data", { value: value ?? "", "data-of": path }, format(value));
}
