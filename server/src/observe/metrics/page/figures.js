// Numbers as people read them, and what is computed of counts. Nothing here knows the page.

const NARROW = "\u202f";
const NONE = "–";

/** An exact count, its digits in groups of three. */
export function count(n) {
  return n == null ? NONE : String(n).replace(/\B(?=(\d{3})+(?!\d))/g, NARROW);
}

function short(n, digits) {
  return n.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** A number of about three digits, with its prefix: `[value, prefix]`. */
function scaled(n) {
  for (const [factor, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (n >= factor) {
      const value = prefix === "k" ? n / 1e3 : n / factor;
      return [short(value, value < 10 ? 2 : value < 100 ? 1 : 0), prefix];
    }
  }
  return [n >= 1e3 ? count(Math.round(n)) : short(n, n < 10 ? 1 : 0), ""];
}

/** A number that may be a fraction: `0.4`, `1 234`, `12.3k`. */
export function amount(n) {
  return n == null ? NONE : scaled(n).join("");
}

/** Bytes, or bytes a second, in powers of 1000: `1.2 kB`. */
export function bytes(n) {
  if (n == null) return NONE;
  if (n < 1000) return `${Math.round(n)}${NARROW}B`;
  const power = Math.min(Math.floor(Math.log10(n) / 3), 4);
  const value = n / 1000 ** power;
  return `${short(value, value < 10 ? 2 : value < 100 ? 1 : 0)}${NARROW}${" kMGT"[power]}B`;
}

/** Milliseconds: `340 µs`, `1.2 ms`, `3 s`. */
export function millis(n) {
  if (n == null) return NONE;
  const [value, unit] = n < 1 ? [n * 1000, "µs"] : n < 1000 ? [n, "ms"] : [n / 1000, "s"];
  return `${short(value, value < 10 ? 1 : 0)}${NARROW}${unit}`;
}

/** A share; only all is 100 %. */
export function percent(share) {
  return share == null ? NONE : `${short(Math.floor(share * 1000) / 10, 1)}${NARROW}%`;
}

/** Seconds: `42 s`, `3 min`, `2 h 5 min`, `4 d 3 h`. */
export function duration(seconds) {
  const s = Math.floor(seconds);
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return `${d} d ${h} h`;
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min ${s % 60} s` : `${s} s`;
}

const two = (n) => String(n).padStart(2, "0");

/** The time of day of a moment in milliseconds since 1970. */
export function clock(ms) {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
}

/** The day of a moment in seconds since 1970, in UTC. */
export function day(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

/**
 * The milliseconds within which this share of the answers was complete, of those in a bucket evenly
 * many at each time; for the last bucket its lower end. The server computes its own the same way.
 */
export function percentile(buckets, bounds, share) {
  const wanted = share * buckets.reduce((sum, n) => sum + n, 0);
  let below = 0;
  let lower = null;
  for (const [at, n] of buckets.entries()) {
    if (n === 0) continue;
    lower = at > 0 ? bounds[at - 1] : 0;
    const within = (wanted - below) / n;
    if (within <= 1) return lower + ((bounds[at] ?? lower) - lower) * within;
    below += n;
  }
  return lower;
}

/**
 * Ticks from 0 to the first round number that is not below `top`: about four of them, all of them
 * integers if they are to be `whole`.
 */
export function ticks(top, whole = false) {
  const rough = Math.max(top / 4, whole ? 1 : 1e-9);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.9999);
  const all = [];
  for (let n = 0; n * step < top + step * 0.9999; n++) all.push(n * step);
  return all;
}

/** The powers of ten around a range, at least two. */
export function decades(low, high) {
  const first = Math.floor(Math.log10(low) + 1e-9);
  const last = Math.max(Math.ceil(Math.log10(high) - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, n) => 10 ** (first + n));
}
