// The page: takes a document of figures each second, keeps what it has seen, draws it.

import { Chart, element, exact } from "./chart.js";
import { classes, latencies, TRAFFIC, TRANSPORT } from "./charts.js";
import { amount, bytes, clock, count, day, duration, millis, percent } from "./figures.js";

/** Milliseconds that are kept: the longest time that can be shown. */
const KEPT = 15 * 60 * 1000;
/** Without figures for this long the connection counts as lost. */
const SILENCE = 5000;

const $ = (id) => document.getElementById(id);
const edition = document.querySelector('meta[name="edition"]').content;

const charts = [[TRAFFIC, "charts-traffic"], [TRANSPORT, "charts-transport"]].flatMap(
  ([specs, place]) => specs.map((spec) => {
    const chart = new Chart(spec);
    $(place).append(chart.card);
    return { spec, chart, points: [] };
  }));

/** A reading: the latest document, the one before it, and the seconds between them. */
const page = { latest: null, view: null, span: 300, paused: false, heard: 0 };

// ---- figures ----

function take(stats) {
  const at = stats.at * 1000;
  const last = page.latest?.stats;
  // Another process counts from zero, and a long silence has no rate.
  const goes = last && last.pid === stats.pid && stats.at > last.at && stats.at - last.at < 10;
  const seconds = goes ? stats.at - last.at : null;
  page.latest = { stats, before: goes ? last : null, seconds };
  for (const { spec, points } of charts) {
    const values = spec.gauge || goes ? spec.value(stats, last, seconds) : {};
    points.push({ at, values });
    while (points[0].at < at - KEPT) points.shift();
  }
  draw();
}

/** Draws the latest reading, or the one at which the page was paused. */
function draw() {
  if (!page.paused) page.view = page.latest;
  if (!page.view || document.hidden) return;
  const { stats } = page.view;
  const to = stats.at * 1000;
  // A page that was just opened shows what there is, a minute at least.
  const age = Math.max(to - charts[0].points[0].at, 60000);
  const from = to - Math.min(page.span * 1000, age);
  for (const { chart, points } of charts) chart.show(points, from, to, stats);
  tiles();
  notices();
  workers();
  certificates();
  process();
  $("about").textContent = `${stats.version} · up ${duration(stats.uptime)}`;
}

function tile(name, value, unit, more, mood = "") {
  const number = element("dd", { class: `value ${mood}` }, value);
  if (unit) number.append(element("small", {}, unit));
  return element("dl", { class: "tile" }, element("dt", {}, name), number,
    element("dd", { class: "more" }, ...more));
}

function tiles() {
  const { stats, before, seconds } = page.view;
  const grown = (of) => (before ? (of(stats) - of(before)) / seconds : null);
  const open = stats.protocols.reduce((sum, protocol) => sum + protocol.open, 0);
  const each = stats.protocols.filter((protocol) => protocol.open > 0)
    .map(({ protocol, open }) => `h${protocol[0]} ${count(open)}`);
  const { p50, p99 } = before ? latencies(stats, before) : {};
  const requests = grown((all) => all.requests);
  const errors = grown((all) => classes(all)[5]);
  const looks = ({ cache }) => cache.hits + cache.checks + cache.misses;
  const missed = looks(stats) ? 1 - stats.cache.misses / looks(stats) : null;
  $("tiles").replaceChildren(
    tile("Requests", amount(requests), "/s", [exact(stats, "requests"), " since start"]),
    tile("Latency, p99", millis(p99), "", [p99 == null ? "no answers just now" : `p50 ${millis(p50)}`]),
    tile("Connections", count(open), "open", [each.join(" · ") || "none"]),
    tile("Server errors", amount(errors), "/s", [`4xx ${amount(grown((all) => classes(all)[4]))}/s`],
      errors > 0 ? "bad" : ""),
    tile("Sent", bytes(grown((all) => all.bytes.sent)), "/s",
      [`received ${bytes(grown((all) => all.bytes.received))}/s`]),
    tile("Files from memory", percent(missed), "", [`${count(looks(stats))} asked for`]),
  );
  document.title = `${amount(requests)}/s · ringway`;
}

/** What needs a person. */
function notices() {
  const { certificates, reload, generations, process } = page.view.stats;
  const found = [];
  for (const { names, days_left: days } of certificates) {
    const name = names[0] ?? "a certificate without a name";
    if (days < 0) found.push(["bad", `The certificate of ${name} has expired.`]);
    else if (days < 14) found.push(["", `The certificate of ${name} ends in ${days} days.`]);
  }
  if (reload && !reload.ok) {
    const at = clock(reload.at * 1000);
    found.push(["bad", `The reload of ${reload.of} at ${at} was not taken: ${reload.why}`]);
  }
  if (generations[0].state === "draining") {
    found.push(["", "The server drains: it finishes what is in flight and takes nothing new."]);
  }
  if (process.panics > 0) found.push(["bad", `${count(process.panics)} panics were caught.`]);
  const items = found.map(([mood, text]) => element("li", { class: mood }, text));
  $("notices").replaceChildren(...items);
  $("notices").hidden = items.length === 0;
}

function workers() {
  const { stats, before, seconds } = page.view;
  const rates = stats.workers.map(({ requests }, at) =>
    (before?.workers[at] ? (requests - before.workers[at].requests) / seconds : null));
  const most = Math.max(...rates, 1);
  $("workers").replaceChildren(...stats.workers.map((worker, at) => {
    const bar = element("i", { "aria-hidden": "true" });
    bar.style.width = `${((rates[at] ?? 0) / most) * 70}%`;
    return element("tr", {},
      element("th", { scope: "row" }, String(worker.worker)),
      element("td", {}, element("div", { class: "bar" }, bar,
        element("span", {}, amount(rates[at])))),
      element("td", { class: "number" }, exact(stats, `workers/${at}/open`)),
      element("td", { class: "number" }, exact(stats, `workers/${at}/requests`)));
  }));
}

function certificates() {
  const { stats } = page.view;
  const there = stats.certificates.length > 0;
  $("no-certificates").hidden = there;
  $("certificates-table").hidden = !there;
  $("certificates").replaceChildren(...stats.certificates.map((certificate, at) => {
    const { names, not_after: end, days_left: days } = certificate;
    const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
    const mood = days < 0 ? "bad" : days < 14 ? "warn" : "";
    return element("tr", {},
      element("th", { scope: "row" }, `${names.slice(0, 3).join(", ") || "no names"}${more}`),
      element("td", {}, day(end)),
      element("td", { class: `number ${mood}` }, exact(stats, `certificates/${at}/days_left`)));
  }));
}

function process() {
  const { stats } = page.view;
  const { reload } = stats;
  // Those that were replaced finish what they have.
  const generations = stats.generations.map(({ pid, state }) => `${pid} ${state}`);
  const rows = [
    ["Version", stats.version],
    [generations.length > 1 ? "Generations" : "Generation", `pid ${generations.join(", ")}`],
    ["Up", duration(stats.uptime)],
    ["Memory", exact(stats, "process/memory", bytes)],
    ["Descriptors", exact(stats, "process/descriptors")],
    ["Panics caught", exact(stats, "process/panics")],
    ["Last reload", reload
      ? `${reload.of}, ${reload.ok ? "taken" : "not taken"} ${clock(reload.at * 1000)}`
      : "none since start"],
  ];
  $("process").replaceChildren(...rows.flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, value)]));
}

// ---- connection ----

function say(state, text) {
  const shown = $("state");
  if (shown.textContent === text) return;
  Object.assign(shown.dataset, { state });
  shown.textContent = text;
  document.body.classList.toggle("lost", state === "lost");
}

function live() {
  page.heard = Date.now();
  say(page.paused ? "paused" : "live", page.paused ? "Paused" : "Live");
}

function lost(why) {
  const last = page.latest?.stats;
  const since = last ? `figures of ${clock(last.at * 1000)}` : "no figures yet";
  say("lost", `${why}, ${since}; trying again`);
}

function connect() {
  const events = new EventSource(`events?edition=${edition}`);
  page.events = events;
  page.heard = Date.now();
  events.onmessage = (event) => {
    live();
    take(JSON.parse(event.data));
  };
  events.onerror = () => {
    lost("Connection lost");
    // The browser tries again by itself, unless the answer was a refusal.
    if (events.readyState === EventSource.CLOSED) refused();
  };
}

/** Finds out why events were refused, and what to do about it. */
async function refused() {
  let again = 2000;
  try {
    const { status } = await fetch(`events?edition=${edition}`, { method: "HEAD" });
    if (status === 410) return location.reload();
    if (status === 503) {
      lost("As many pages as may be are open already");
      again = 10000;
    } else if (status >= 400) {
      lost(`The server answers ${status}`);
      again = 10000;
    }
  } catch {
    // Still gone.
  }
  setTimeout(connect, again);
}

setInterval(() => {
  if (!page.events || page.events.readyState === EventSource.CLOSED) return;
  if (Date.now() - page.heard > SILENCE) {
    page.events.close();
    lost("Connection lost");
    connect();
  }
}, 1000);

// ---- controls ----

for (const choice of document.querySelectorAll('input[name="span"]')) {
  if (choice.checked) page.span = Number(choice.value);
  choice.addEventListener("change", () => {
    page.span = Number(choice.value);
    draw();
  });
}

$("pause").addEventListener("click", () => {
  page.paused = !page.paused;
  $("pause").setAttribute("aria-pressed", String(page.paused));
  $("pause").textContent = page.paused ? "Go on" : "Pause";
  if (!document.body.classList.contains("lost")) live();
  draw();
});
document.addEventListener("visibilitychange", draw);

connect();
