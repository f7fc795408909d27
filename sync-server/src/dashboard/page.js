// Draws what the server says of itself, a sample a second. Everything is SVG made here; nothing is
// fetched from anywhere else, and no text of the server's is read as HTML.
"use strict";

const KEEP = 300;
const SVG = "http://www.w3.org/2000/svg";
const samples = [];
let hover = null;

// Units.
const round = (n, digits) => n.toLocaleString("en", { maximumFractionDigits: digits });
const digits = (n) => (n >= 100 ? 0 : n >= 10 ? 1 : 2);
function count(n) {
  if (n >= 1e9) return [round(n / 1e9, 1), "G"];
  if (n >= 1e6) return [round(n / 1e6, 1), "M"];
  if (n >= 1e5) return [round(n / 1e3, 0), "k"];
  return [round(n, n >= 100 || Number.isInteger(n) ? 0 : 1), ""];
}
function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return [round(n, unit === 0 ? 0 : digits(n)), units[unit]];
}
function seconds(n) {
  if (n < 120) return [round(n, n < 10 ? 1 : 0), "s"];
  return n < 7200 ? [round(n / 60, 0), "min"] : [round(n / 3600, 0), "h"];
}
function millis(n) {
  if (n === null || n === undefined) return ["–", ""];
  return n >= 1000 ? [round(n / 1000, digits(n / 1000)), "s"] : [round(n, digits(n)), "ms"];
}
const per = (unit) => (n) => { const [value, prefix] = unit(n); return [value, `${prefix}/s`]; };
const percent = (n) => [round(n * 100, n < 0.1 ? 1 : 0), "%"];
const text = ([value, unit]) => (unit ? `${value} ${unit}` : value);

const TILES = [
  ["Connections", (s) => count(s.connections), (s) => `${text(count(s.sessions))} sessions, ${text(count(s.users))} users`],
  ["In spaces", (s) => count(s.present_users), (s) => `${text(count(s.present_devices))} devices, ${text(count(s.spaces))} ${s.spaces === 1 ? "space" : "spaces"}`],
  ["Documents", (s) => count(s.documents), (s) => `${text(count(s.followers))} followers`],
  ["Streams", (s) => count(s.streams), (s) => `${text(count(s.stream_followers))} followers, ${text(bytes(s.stream_bytes))}`],
  ["Feeds", (s) => count(s.feed_followers), (s) => `followers, of ${text(count(s.feeds))} ${s.feeds === 1 ? "space" : "spaces"}`],
  ["Changes accepted", (s) => per(count)(s.changes), (s) => text(per(bytes)(s.accepted_bytes))],
  ["Delivery p99", (s) => millis(s.delivery_p99), (s) => `p50 ${text(millis(s.delivery_p50))}`],
  ["Commit p99", (s) => millis(s.commit_p99), (s) => `${text(per(count)(s.commits))}, p50 ${text(millis(s.commit_p50))}`],
  ["Hub at work", (s) => percent(s.busy), (s) => `${text(count(s.queue))} waiting`],
  ["Followers behind", (s) => count(s.behind), (s) => `the farthest by ${text(count(s.lag_max))}`],
  ["Memory", (s) => bytes(s.memory), (s) => `${text(count(s.files))} open files`],
];

const CHARTS = [
  { title: "Changes accepted", unit: per(count), series: [["changes", "changes", "a"]] },
  { title: "Delivery", note: "from socket to sockets", unit: millis, series: [["delivery_p50", "p50", "a"], ["delivery_p99", "p99", "b"]] },
  { title: "Commit", note: "until it is on disk", unit: millis, series: [["commit_p50", "p50", "a"], ["commit_p99", "p99", "b"]] },
  { title: "Traffic", unit: per(bytes), series: [["bytes_in", "in", "a"], ["bytes_out", "out", "c"]] },
  { title: "Frames", unit: per(count), series: [["frames_in", "in", "a"], ["frames_out", "out", "c"]] },
  { title: "Connections", unit: count, series: [["connections", "connections", "a"], ["followers", "followers", "c"], ["leases", "leases", "b"]] },
  { title: "In spaces", unit: count, series: [["present_users", "users", "a"], ["present_devices", "devices", "c"]] },
  { title: "Streams and feeds", unit: count, series: [["streams", "streams", "a"], ["stream_followers", "at streams", "c"], ["feed_followers", "at feeds", "b"]] },
  { title: "Behind", note: "changes not sent yet", unit: count, series: [["lag", "all together", "b"], ["lag_max", "the farthest", "d"]] },
  { title: "Memory", unit: bytes, series: [["memory", "resident", "a"], ["outgoing_bytes", "sent and not taken", "b"]] },
];

function element(parent, name, attributes = {}, content) {
  const made = parent instanceof SVGElement || name === "svg"
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== undefined) made.textContent = content;
  parent.append(made);
  return made;
}

// A top of 1, 2 or 5 times a power of ten, so that the lines in between are round.
function ceiling(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= most);
}

const tiles = TILES.map(([title, value, more]) => {
  const tile = element(document.getElementById("tiles"), "div", { class: "tile" });
  element(tile, "h2", {}, title);
  return { value, more, figure: element(tile, "p", {}, "–"), line: element(tile, "p", { class: "more" }, "\u00a0") };
});

const charts = CHARTS.map((chart) => {
  const card = element(document.getElementById("charts"), "div", { class: "card" });
  const legend = element(card, "div", { class: "legend" });
  if (chart.series.length > 1) {
    for (const [, label, colour] of chart.series) {
      const entry = element(legend, "span");
      element(entry, "i").style.background = `var(--${colour})`;
      entry.append(label);
    }
  }
  const title = element(card, "h2", {}, chart.title + " ");
  if (chart.note) element(title, "small", {}, chart.note);
  const plot = element(card, "svg", { class: "plot", role: "img" });
  const tip = element(card, "div", { class: "tip", hidden: "" });
  const none = element(card, "div", { class: "none", hidden: "" }, "nothing happened");
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    hover = { chart: chart.title, share: (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT) };
    draw();
  });
  plot.addEventListener("pointerleave", () => { hover = null; draw(); });
  return { ...chart, card, plot, tip, none };
});

const LEFT = 58, RIGHT = 8, TOP = 8, BOTTOM = 20;

function drawChart(chart) {
  const { plot, unit, series, tip, none } = chart;
  const box = plot.getBoundingClientRect();
  const width = Math.max(box.width - LEFT - RIGHT, 10), height = box.height - TOP - BOTTOM;
  const values = series.flatMap(([key]) => samples.map((s) => s[key]).filter((v) => v !== null));
  const top = ceiling(Math.max(0, ...values));
  const x = (place) => LEFT + width * (1 - (samples.length - 1 - place) / (KEEP - 1));
  const y = (value) => TOP + height * (1 - value / top);
  plot.replaceChildren();
  none.hidden = values.length > 0;
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    element(plot, "line", { class: "grid", x1: LEFT, x2: LEFT + width, y1: at, y2: at });
    element(plot, "text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, text(unit(top * share)));
  }
  for (let minute = 0; minute <= 5; minute += 1) {
    const anchor = minute === 0 ? "end" : minute === 5 ? "start" : "middle";
    const label = minute === 0 ? "now" : `${minute} min`;
    element(plot, "text", { x: LEFT + width * (1 - minute / 5), y: TOP + height + 15, "text-anchor": anchor }, label);
  }
  for (const [key, , colour] of series) {
    for (const run of runs(key)) {
      const points = run.map((place) => `${x(place).toFixed(1)},${y(samples[place][key]).toFixed(1)}`);
      if (series.length === 1 || key === series[0][0]) {
        const ground = TOP + height;
        const area = `${x(run[0]).toFixed(1)},${ground} ${points.join(" ")} ${x(run.at(-1)).toFixed(1)},${ground}`;
        element(plot, "polygon", { class: "area", points: area }).style.fill = `var(--${colour})`;
      }
      element(plot, "polyline", { class: "series", points: points.join(" ") }).style.stroke = `var(--${colour})`;
    }
  }
  const last = samples.at(-1);
  const said = series.map(([key, label]) => `${label} ${text(unit(last ? last[key] : null))}`);
  plot.setAttribute("aria-label", `${chart.title}: ${said.join(", ")}`);
  tip.hidden = true;
  if (hover && samples.length > 0) {
    const place = Math.round(samples.length - 1 - (1 - hover.share) * (KEEP - 1));
    const sample = samples[Math.min(Math.max(place, 0), samples.length - 1)];
    const at = x(samples.indexOf(sample));
    element(plot, "line", { class: "hair", x1: at, x2: at, y1: TOP, y2: TOP + height });
    if (hover.chart === chart.title) showTip(chart, sample, at);
  }
}

function showTip({ card, plot, tip, unit, series }, sample, at) {
  tip.replaceChildren();
  element(tip, "b", {}, new Date(sample.at).toLocaleTimeString());
  for (const [key, label] of series) element(tip, "span", {}, `${label}: ${text(unit(sample[key]))}`);
  tip.hidden = false;
  const half = tip.offsetWidth / 2, room = card.clientWidth;
  tip.style.left = `${Math.min(Math.max(at + plot.offsetLeft + 14, half + 4), room - half - 4)}px`;
  tip.style.top = "40px";
}

// The stretches in which a figure has a value; a second without any event has no quantile.
function runs(key) {
  const found = [];
  let run = [];
  samples.forEach((sample, place) => {
    if (sample[key] === null) {
      if (run.length > 0) found.push(run);
      run = [];
    } else {
      run.push(place);
    }
  });
  if (run.length > 0) found.push(run);
  return found;
}

function drawRefusals(sample) {
  const before = samples[Math.max(0, samples.length - 61)].refusals;
  const rows = Object.entries(sample.refusals).sort((one, other) => other[1] - one[1]);
  const most = rows.length > 0 ? rows[0][1] : 1;
  const body = document.querySelector("#refusals tbody");
  body.replaceChildren();
  for (const [code, all] of rows) {
    const row = element(body, "tr");
    element(element(row, "td"), "code", {}, code);
    element(row, "td", {}, text(count(all - (before[code] || 0))));
    element(row, "td", {}, text(count(all)));
    const bar = element(element(row, "td", { class: "share" }), "svg", { "aria-hidden": "true" });
    element(bar, "rect", { width: `${(100 * all) / most}%`, height: 8, rx: 4 });
  }
  document.getElementById("refusals").hidden = rows.length === 0;
  document.getElementById("quiet").hidden = rows.length > 0;
}

// Receivers of events. One that fails is what somebody looks for, so it is marked.
function drawWebhooks(sample) {
  const before = samples[Math.max(0, samples.length - 61)].webhooks;
  const body = document.querySelector("#webhooks tbody");
  body.replaceChildren();
  for (const at of sample.webhooks) {
    const past = before.find((other) => other.name === at.name) || at;
    const row = element(body, "tr", at.retrying > 0 ? { class: "bad" } : {});
    element(element(row, "td"), "code", {}, at.name);
    element(row, "td", {}, text(count(at.events - past.events)));
    element(row, "td", {}, text(count(at.failed - past.failed)));
    element(row, "td", {}, at.waiting > 0 ? `${text(count(at.waiting))} for ${text(seconds(at.lag))}` : "–");
    element(row, "td", {}, at.retrying > 0 ? `${text(count(at.retrying))} for ${text(seconds(at.failing))}` : "–");
    element(row, "td", {}, text(bytes(at.spooled_bytes)));
    element(row, "td", {}, text(count(at.dead)));
  }
  document.getElementById("receivers").hidden = sample.webhooks.length === 0;
}

function draw() {
  const sample = samples.at(-1);
  if (!sample) return;
  for (const { value, more, figure, line } of tiles) {
    const [number, unit] = value(sample);
    figure.replaceChildren(number);
    if (unit) { figure.append(" "); element(figure, "small", {}, unit); }
    line.textContent = more(sample);
  }
  charts.forEach(drawChart);
  drawRefusals(sample);
  drawWebhooks(sample);
}

function take(sample) {
  samples.push(sample);
  if (samples.length > KEEP) samples.shift();
}

const state = document.getElementById("state");
function say(kind, words) {
  state.className = `state ${kind}`;
  state.textContent = words;
}

document.getElementById("host").textContent = location.host;
let heard = 0;
const events = new EventSource("dashboard/events");
events.addEventListener("history", (event) => {
  samples.length = 0;
  JSON.parse(event.data).forEach(take);
  heard = Date.now();
  say("live", "live");
  draw();
});
events.addEventListener("sample", (event) => {
  take(JSON.parse(event.data));
  heard = Date.now();
  say("live", "live");
  if (!document.hidden) draw();
});
events.addEventListener("error", () => say("lost", "no answer, trying again"));
setInterval(() => { if (heard && Date.now() - heard > 5000) say("lost", "no answer, trying again"); }, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) draw(); });
addEventListener("resize", draw);
