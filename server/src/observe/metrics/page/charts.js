// Which charts there are: what each takes from two documents of `/stats.json` and the seconds
// between them.

import { amount, bytes, count, millis, percentile } from "./figures.js";

/** Names and colours of the protocols, in the order of the document. */
const PROTOCOLS = [["HTTP/1.1", "h1"], ["HTTP/2", "h2"], ["HTTP/3", "h3"]];

/** The name of a protocol of the document. */
function protocolName({ protocol }) {
  return `HTTP/${protocol}`;
}

const byProtocol = (total) => PROTOCOLS.map(([name, colour], at) => ({
  key: at, name, colour, total: `protocols/${at}/${total}`,
}));

/** Growth a second of what `of` takes from each document. */
function rate(of) {
  return (now, before, seconds) => {
    const [to, from] = [of(now), of(before)];
    return Object.fromEntries(Object.keys(to).map((key) => [key, (to[key] - from[key]) / seconds]));
  };
}

const each = (list, of) => Object.fromEntries(list.map((one, at) => [at, of(one)]));

/** Answers by the first digit of their status. */
export function classes(stats) {
  const sums = { 1: 0, 2: 0, 3: 0, 4: 0, 5: 0 };
  for (const { statuses } of stats.protocols) {
    for (const [status, n] of Object.entries(statuses)) sums[status[0]] += n;
  }
  return sums;
}

/** The percentiles of the answers between two documents, in milliseconds. */
export function latencies(now, before) {
  const buckets = now.latency.buckets.map((n, at) => n - before.latency.buckets[at]);
  const at = (share) => percentile(buckets, now.bounds, share);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

/** The sum of a list of counts. */
export function total(counts) {
  return counts.reduce((sum, row) => sum + row.count, 0);
}

/** `ringway_timeouts_total{kind="head"}` as people say it: `timeouts: head`. */
function plain(name) {
  const [, metric, value] = /^(?:ringway_)?(.*?)(?:_total)?(?:\{.*?="(.*)"\})?$/.exec(name);
  const words = metric.replaceAll("_", " ");
  return value ? `${words}: ${value.replaceAll("_", " ")}` : words;
}

function statusRows(stats) {
  return stats.protocols.flatMap((protocol, at) => Object.keys(protocol.statuses).map((status) =>
    [`${status}, ${protocolName(protocol)}`, `protocols/${at}/statuses/${status}`]));
}

function countRows(stats) {
  return ["drops", "budgets"].flatMap((list) => stats[list].map((row, at) => [row, at, list]))
    .filter(([row]) => row.count > 0)
    .map(([row, at, list]) => {
      const name = list === "budgets" ? `budget: ${row.name.replaceAll("_", " ")}` : plain(row.name);
      return [name, `${list}/${at}/count`];
    });
}

export const TRAFFIC = [
  {
    id: "requests", title: "Requests", unit: "answers a second", format: amount, stacked: true,
    empty: "Waiting for a second reading", series: byProtocol("answers"),
    value: rate((stats) => each(stats.protocols, (protocol) => protocol.answers)),
  },
  {
    id: "latency", title: "Latency", unit: "log scale",
    format: millis, log: true, empty: "No answers in this time",
    exact: (n) => (n == null ? "–" : `${n} ms`),
    series: [["p50", "low"], ["p90", "mid"], ["p99", "high"]].map(([key, colour]) =>
      ({ key, name: key, colour, total: `latency/${key}` })),
    value: latencies,
  },
  {
    id: "statuses", title: "Statuses", unit: "answers a second", format: amount, stacked: true,
    empty: "Waiting for a second reading", rows: statusRows, rowsTitle: "Status",
    // Errors stand on the base line, where few of them can be seen.
    series: [[5, "5xx", "bad"], [4, "4xx", "warn"], [3, "3xx", "moved"], [2, "2xx", "good"]]
      .map(([key, name, colour]) => ({ key, name, colour, total: (stats) => classes(stats)[key] })),
    value: rate(classes),
  },
  {
    id: "bytes", title: "Bytes", unit: "on the wire, a second", format: bytes, exact: count,
    least: 1000, empty: "Waiting for a second reading",
    series: [{ key: "sent", name: "sent", colour: "h1", total: "bytes/sent" },
      { key: "received", name: "received", colour: "h2", total: "bytes/received" }],
    value: rate((stats) => stats.bytes),
  },
  {
    id: "cache", title: "File cache", unit: "files a second", format: amount, stacked: true,
    empty: "Waiting for a second reading",
    series: [{ key: "misses", name: "from disk", colour: "h2", total: "cache/misses" },
      { key: "checks", name: "checked", colour: "other", total: "cache/checks" },
      { key: "hits", name: "memory", colour: "h3", total: "cache/hits" }],
    value: rate((stats) => stats.cache),
  },
  {
    id: "streams", title: "Streams", unit: "begun a second", format: amount, stacked: true,
    empty: "Waiting for a second reading", series: byProtocol("streams").slice(1),
    value: rate((stats) => each(stats.protocols, (protocol) => protocol.streams ?? 0)),
  },
];

export const TRANSPORT = [
  {
    id: "connections", title: "Connections", unit: "open", format: amount, stacked: true,
    empty: "Waiting for figures", series: byProtocol("opened"), gauge: true, whole: true,
    value: (stats) => each(stats.protocols, (protocol) => protocol.open),
  },
  {
    id: "handshakes", title: "TLS handshakes", unit: "a second", format: amount,
    stacked: true, empty: "Waiting for a second reading",
    series: [["failed", "bad"], ["full", "h1"], ["resumed", "h3"], ["early", "other"]]
      .map(([key, colour]) =>
        ({ key, name: key === "early" ? "early data" : key, colour, total: `handshakes/${key}` })),
    value: rate((stats) => stats.handshakes),
  },
  {
    id: "drops", title: "Drops and budgets spent", unit: "a second", format: amount,
    empty: "Waiting for a second reading", rows: countRows, rowsTitle: "Kind",
    series: [["drops", "refused or dropped", "bad"], ["budgets", "budgets of HTTP/2", "warn"]]
      .map(([key, name, colour]) => ({ key, name, colour, total: (stats) => total(stats[key]) })),
    value: rate((stats) => ({ drops: total(stats.drops), budgets: total(stats.budgets) })),
  },
];
