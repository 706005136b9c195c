// Shows how this page came here: what the browser measured, nothing that the server claims.
'use strict';

const PROTOCOLS = {
  'http/1.0': ['HTTP/1.0', 'One request, one connection.'],
  'http/1.1': ['HTTP/1.1', 'Text over TCP: one reply at a time on each connection.'],
  'h2': ['HTTP/2', 'Binary frames over one TLS connection: all requests share it.'],
  'h2c': ['HTTP/2', 'Binary frames over one TCP connection, in clear text.'],
  'h3': ['HTTP/3', 'QUIC over UDP: streams that do not wait for each other’s lost packets.'],
};

const $ = id => document.getElementById(id);
const ms = value => value < 9.995 ? `${value.toFixed(2)} ms` : `${Math.round(value)} ms`;
const protocolOf = entry => PROTOCOLS[entry.nextHopProtocol] ??
  [entry.nextHopProtocol || 'cache', ''];

// The phases of a load, in order: [class, name, from, to].
function phasesOf(entry) {
  const secure = entry.secureConnectionStart;
  const connected = secure > 0 ? secure : entry.connectEnd;
  return [
    ['wait', 'Waiting and name lookup', entry.startTime, entry.connectStart],
    ['connect', 'Connecting', entry.connectStart, connected],
    ['secure', 'TLS', connected, entry.connectEnd],
    ['first', 'Request to first byte', entry.requestStart, entry.responseStart],
    ['body', 'Download', entry.responseStart, entry.responseEnd],
  ].filter(([name, , from, to]) => to > from || name === 'first');
}

function showNavigation() {
  const entry = performance.getEntriesByType('navigation')[0];
  const [name, meaning] = protocolOf(entry);
  const phases = phasesOf(entry);
  const spent = phases.reduce((sum, [, , from, to]) => sum + (to - from), 0) || 1;
  $('protocol').textContent = $('name').textContent = name;
  $('meaning').textContent = meaning;
  $('total').textContent = ms(entry.responseEnd - entry.startTime);
  document.title = `ringway over ${name}`;
  let offset = 0;
  for (const [kind, label, from, to] of phases) {
    const row = document.createElement('div');
    const [dot, term, value] = ['i', 'dt', 'dd'].map(tag => document.createElement(tag));
    dot.className = kind;
    term.textContent = label;
    value.textContent = ms(to - from);
    row.append(dot, term, value);
    $('phases').append(row);
    offset = addArc(kind, (to - from) / spent * 100, offset);
  }
}

function addArc(kind, share, offset) {
  const arc = document.createElementNS('http://www.w3.org/2000/svg', 'circle');
  const settings = { class: `arc ${kind}`, cx: 100, cy: 100, r: 88, pathLength: 100,
    style: 'background: none', 'stroke-dashoffset': -offset, 'stroke-dasharray': '0 100' };
  for (const [key, value] of Object.entries(settings)) arc.setAttribute(key, value);
  $('arcs').append(arc);
  const visible = Math.max(share - .8, .4);
  requestAnimationFrame(() => arc.setAttribute('stroke-dasharray', `${visible} 100`));
  return offset + share;
}

function showParts() {
  const entries = [performance.getEntriesByType('navigation')[0],
    ...performance.getEntriesByType('resource').filter(entry => !entry.name.includes('?n='))];
  $('parts').replaceChildren(...entries.map(entry => {
    const row = document.createElement('tr');
    const url = new URL(entry.name);
    const cells = [url.pathname, protocolOf(entry)[0],
      entry.encodedBodySize.toLocaleString(), ms(entry.responseEnd - entry.startTime)];
    row.append(...cells.map(text => {
      const cell = document.createElement('td');
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

// Fetch many small files at once and draw when each began, was answered and ended.
async function race() {
  const button = $('run');
  button.disabled = true;
  performance.clearResourceTimings();
  const seed = Date.now();
  const urls = Array.from({ length: 48 }, (_, n) => `ring.svg?n=${seed}-${n}`);
  const replies = await Promise.allSettled(urls.map(async url => {
    const reply = await fetch(url, { cache: 'no-store' });
    if (!reply.ok) throw new Error(reply.statusText);
    return reply.arrayBuffer();
  }));
  await new Promise(resolve => setTimeout(resolve, 50));
  const entries = performance.getEntriesByType('resource')
    .filter(entry => entry.name.includes(`?n=${seed}-`))
    .sort((a, b) => a.responseStart - b.responseStart);
  button.disabled = false;
  const failed = replies.filter(reply => reply.status === 'rejected').length;
  if (failed || !entries.length) {
    $('verdict').textContent = `${failed || urls.length} of ${urls.length} requests failed.`;
    return;
  }
  draw(entries);
}

function draw(entries) {
  const start = Math.min(...entries.map(entry => entry.startTime));
  const end = Math.max(...entries.map(entry => entry.responseEnd));
  const scale = 100 / (end - start);
  $('fall').replaceChildren(...entries.map(entry => {
    const row = document.createElement('span');
    row.title = ms(entry.responseEnd - entry.startTime);
    const parts = [['', entry.startTime - start], ['wait', entry.requestStart - entry.startTime],
      ['first', entry.responseStart - entry.requestStart],
      ['body', entry.responseEnd - entry.responseStart]];
    row.append(...parts.map(([kind, length]) => {
      const part = document.createElement('b');
      part.className = kind;
      part.style.width = `${Math.max(length, 0) * scale}%`;
      if (!kind) part.style.minWidth = 0;
      return part;
    }));
    return row;
  }));
  const name = protocolOf(entries[0])[0];
  $('verdict').textContent = `${entries.length} files over ${name} in ${ms(end - start)}.`;
}

addEventListener('load', () => setTimeout(() => {
  showNavigation();
  showParts();
  $('run').addEventListener('click', race);
  if (location.hash === '#run') race();
}));
