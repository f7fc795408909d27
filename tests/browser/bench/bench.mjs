// Measures Syncline, automerge-repo and Yjs in a real Chromium, on the same document and by the same page, in turn.
// `--runs N` rounds (default 15), `--comments N` (default 2,000), `--json` for machines, `--profile DIR` for CPU profiles of the way to
// interactive, which come from the last round. Everything is on loopback; each wait has a limit; what was started is stopped whatever happens.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { cpus, loadavg, tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const HERE = import.meta.dirname;
const ROOT = path.resolve(HERE, "../../..");
const PACKAGE = path.join(ROOT, "wasm-bindings/dist");
const SERVER = process.env.SYNCLINE_SERVER ?? path.join(ROOT, "target/release/syncline-server");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PATIENCE = 60_000;
const AUTHORS = 20;
const KEYS = "abcdefghij";
/** How many comments somebody else makes in a round. */
const COMMENTS = 4;
/** A fast typist's pace, and how long one thinks before. */
const PACE_MS = 100;
const PAUSE_MS = 1_000;

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
];

// Signals are this script's, which has more to stop than browsers.
const LAUNCH = { executablePath: CHROMIUM, headless: true, args: FLAGS, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false };

const SYSTEMS = {
  syncline: {
    label: "Syncline",
    wasm: path.join(PACKAGE, "wasm/syncline.wasm"),
    serve: (data) => [SERVER, ["--listen", "127.0.0.1:0", "--data", data, "--log", "warn"]],
  },
  automerge: {
    label: "automerge-repo",
    wasm: path.join(HERE, "node_modules/@automerge/automerge/dist/automerge.wasm"),
    serve: (data) => [process.execPath, [path.join(HERE, "servers/automerge.mjs"), data]],
  },
  yjs: {
    label: "Yjs",
    serve: (data) => [process.execPath, [path.join(HERE, "servers/yjs.mjs")], { YPERSISTENCE: data }],
  },
  plain: { label: "no system" },
};

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "15" },
    comments: { type: "string", default: "2000" },
    json: { type: "boolean", default: false },
    profile: { type: "string" },
  },
});
const runs = whole(options.runs, "--runs");
const count = whole(options.comments, "--comments");

/** What is to be undone at the end, last first. */
const undo = [];
let ending;

function end() {
  return (ending ??= (async () => {
    for (const step of undo.reverse()) await Promise.resolve().then(step).catch((error) => say(`at the end: ${error.message}`));
  })());
}

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void end().then(() => process.exit(130)));
try {
  await main();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await end();
}

async function main() {
  for (const [what, file] of [["browser (set CHROMIUM)", CHROMIUM], ["release server (set SYNCLINE_SERVER)", SERVER], ["package of wasm-bindings", PACKAGE]]) {
    if (!existsSync(file)) throw new Error(`there is no ${what} at ${file}`);
  }
  const before = loadavg()[0];
  const temporary = await mkdtemp(path.join(tmpdir(), "syncline-browser-bench-"));
  undo.push(() => rm(temporary, { recursive: true, force: true, maxRetries: 5 }));
  const pages = await bundle(path.join(temporary, "pages"));
  const origin = await host(pages);
  const crowd = await chromium.launch(LAUNCH);
  undo.push(() => crowd.close());
  const worlds = [];
  for (const [name, system] of Object.entries(SYSTEMS)) {
    say(`${system.label}: writing the post and its comments`);
    worlds.push(await prepare({ name, system, temporary, crowd, url: `${origin}/${name}/` }));
  }
  const samples = Object.fromEntries(worlds.map(({ name }) => [name, empty()]));
  for (let round = 0; round < runs; round++) {
    say(`round ${round + 1} of ${runs}`);
    // Nobody is always first.
    for (let turn = 0; turn < worlds.length; turn++) {
      const world = worlds[(round + turn) % worlds.length];
      await measure(world, samples[world.name], round);
    }
  }
  const about = {
    runs, comments: count, authors: AUTHORS, processors: cpus().length, processor: cpus()[0]?.model,
    load: { before, after: loadavg()[0] }, chromium: crowd.version(), versions: await versions(),
  };
  const figures = Object.fromEntries(worlds.map(({ name, bytes }) => [name, { ...summary(samples[name]), bytes }]));
  if (options.json) console.log(JSON.stringify({ about, figures, samples }, null, 2));
  else console.log(tables(about, figures));
}

// --------------------------------------------------------------------------------------------- the world

/** One page for each system, from the same code. */
async function bundle(folder) {
  for (const name of Object.keys(SYSTEMS)) {
    await build({
      entryPoints: { main: path.join(HERE, "page/main.mjs") },
      outdir: path.join(folder, name),
      // Profiles are to be read.
      bundle: true, minify: options.profile === undefined, format: "esm", target: "es2022",
      alias: { system: path.join(HERE, `systems/${name}.mjs`), syncline: path.join(PACKAGE, "index.js") },
      define: { "process.env.NODE_ENV": '"production"' },
      logLevel: "error",
    });
  }
  return folder;
}

/** Serves the pages as an app's server would: to be cached, and on an origin of their own. */
async function host(folder) {
  const files = new Map();
  for (const [name, { wasm }] of Object.entries(SYSTEMS)) {
    const code = await readFile(path.join(folder, name, "main.js"));
    files.set(`/${name}/main.js`, ["text/javascript", code]);
    files.set(`/${name}/`, ["text/html", Buffer.from(`<!doctype html><meta charset="utf-8"><title>${name}</title><main></main><script type="module" src="main.js"></script>`)]);
    if (wasm) files.set(`/${name}.wasm`, ["application/wasm", await readFile(wasm)]);
    SYSTEMS[name].bytes = [code, files.get(`/${name}.wasm`)?.[1]].reduce((sum, file) => sum + (file ? gzipSync(file).length : 0), 0);
  }
  const server = createServer((request, response) => {
    const file = files.get(request.url);
    if (!file) return response.writeHead(404).end();
    const [type, content] = file;
    response.writeHead(200, {
      "Content-Type": type,
      "Cache-Control": type === "text/html" ? "no-cache" : "public, max-age=31536000, immutable",
      // Isolated pages have clocks of 5 microseconds.
      "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
    });
    response.end(content);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  undo.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** A server, the post on it, and a browser on whose disk the post is. */
async function prepare({ name, system, temporary, crowd, url }) {
  const server = system.serve && await start(system, await mkdtemp(path.join(temporary, `${name}-server-`)));
  const writers = await crowd.newContext();
  const seeding = await open(writers, url);
  const address = await evaluate(seeding, "the seed", ([server, authors, count]) => globalThis.bench.seed(server, authors, count), [
    server, AUTHORS, server ? count : 0,
  ]);
  const disk = await chromium.launchPersistentContext(path.join(temporary, `${name}-browser`), LAUNCH);
  undo.push(() => disk.close());
  const options = { server, address, user: "reader", disk: true };
  const visit = await open(disk, url);
  await evaluate(visit, "the first visit", ([options, authors, count]) => globalThis.bench.visit(options, authors, count), [options, AUTHORS, count]);
  await visit.close();
  await writers.close();
  return { name, url, server, address, disk, crowd, options, bytes: system.bytes, expected: count };
}

/** Starts a server process; it says where it is in its first line that has an address. */
async function start({ label, serve }, data) {
  const [program, words, environment] = serve(data);
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...environment } });
  const ended = once(child, "exit");
  undo.push(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  });
  const said = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const found = /\b(?:http|ws):\/\/[\d.]+:\d+/.exec(line)?.[0];
      if (found) return found;
    }
    throw new Error(`the server of ${label} ended without an address`);
  })();
  const found = await limited(said, `the server of ${label}`);
  child.stdout.resume();
  return found;
}

async function open(context, url) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => say(`a page of ${url} complained: ${error.stack ?? error}`));
  await page.goto(url);
  return page;
}

function evaluate(page, what, call, argument) {
  return limited(page.evaluate(call, argument), what);
}

function limited(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${4 * PATIENCE} ms`)), 4 * PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// ------------------------------------------------------------------------------------------ what is measured

function empty() {
  return { interactive: [], longest: [], heap: [], key: [], keyWork: [], keyTask: [], commentFirst: [], comment: [], remotePaused: [], remoteTyping: [] };
}

async function measure(world, into, round) {
  const { disk, url, server, crowd, options: told, address } = world;
  const page = await disk.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => say(`${world.name} complained: ${error.stack ?? error}`));
  const tools = await disk.newCDPSession(page);
  await tools.send("Performance.enable");
  const profiling = options.profile !== undefined && round === runs - 1;
  if (profiling) {
    await tools.send("Profiler.enable");
    await tools.send("Profiler.setSamplingInterval", { interval: 200 });
    await tools.send("Profiler.start");
  }
  await page.goto(`${url}#${encodeURIComponent(JSON.stringify({ options: told, count }))}`);
  const { at, longest } = await evaluate(page, "interactive", () => globalThis.bench.opened);
  if (profiling) {
    const { profile } = await tools.send("Profiler.stop");
    await mkdir(options.profile, { recursive: true });
    await writeFile(path.join(options.profile, `${world.name}.cpuprofile`), JSON.stringify(profile));
  }
  // A profile slows down what it looks at: its round does not count, where there are others.
  if (!profiling || runs === 1) {
    into.interactive.push(at);
    into.longest.push(longest);
  }
  await evaluate(page, "going online", () => globalThis.bench.connect());
  await keys(page, tools, into);
  if (server) await others(page, { crowd, url, server, address }, into);
  await tools.send("HeapProfiler.collectGarbage");
  const { usedSize } = await tools.send("Runtime.getHeapUsage");
  into.heap.push(usedSize + await page.evaluate(() => globalThis.bench.memory()));
  await evaluate(page, "leaving", () => globalThis.bench.leave());
  await page.close();
}

/** Real key presses, each after the paint of the one before. */
async function keys(page, tools, into) {
  await page.evaluate(() => globalThis.bench.caret());
  const before = await busy(tools);
  for (let pressed = 0; pressed < KEYS.length; pressed++) {
    await page.keyboard.press(KEYS[pressed]);
    await evaluate(page, "a key", (count) => globalThis.bench.pressed(count), pressed + 1);
  }
  // With everything that a key entails later: storing, sending, being told that it was stored.
  await evaluate(page, "a settled text", () => globalThis.bench.settle());
  const after = await busy(tools);
  const seen = await page.evaluate((count) => globalThis.bench.pressed(count), KEYS.length);
  for (const { paint, work } of seen) {
    into.key.push(paint);
    into.keyWork.push(work);
  }
  into.keyTask.push((after - before) / KEYS.length);
}

/** Milliseconds in which the page's scripts ran. */
async function busy(tools) {
  const { metrics } = await tools.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "ScriptDuration").value * 1_000;
}

/** Somebody else, with a browser context of their own, comments and types. */
async function others(page, { crowd, url, server, address }, into) {
  const context = await crowd.newContext();
  try {
    const writer = await open(context, url);
    const shown = await page.evaluate(() => globalThis.bench.comments());
    await evaluate(writer, "another's visit", ([told, count]) => globalThis.bench.join(told, count), [{ server, address, user: "writer" }, shown]);
    let length = await page.evaluate(() => globalThis.bench.length());
    await eventually("the same text", async () => (await writer.evaluate(() => globalThis.bench.length())) === length);

    for (let said = 0; said < COMMENTS; said++) {
      const appears = evaluate(page, "a comment", (count) => globalThis.bench.watchComments(count), shown + 1 + said);
      const at = await writer.evaluate(() => globalThis.bench.say("One more, from somebody else."));
      (said === 0 ? into.commentFirst : into.comment).push(await appears - at);
      await evaluate(writer, "a settled comment", () => globalThis.bench.settle());
    }

    // The first time, a session prepares for writing in a document.
    for (const keys of ["x", KEYS]) {
      const reads = evaluate(page, "another's keys", ([from, to]) => globalThis.bench.watchText(from, to), [length, length + keys.length]);
      const typed = await evaluate(writer, "typing", ([text, pace, pause]) => globalThis.bench.type(text, pace, pause), [keys, PACE_MS, PAUSE_MS]);
      const read = await reads;
      length += keys.length;
      if (keys === KEYS) typed.forEach((at, index) => (index === 0 ? into.remotePaused : into.remoteTyping).push(read[index] - at));
    }
    await evaluate(writer, "leaving", () => globalThis.bench.leave());
  } finally {
    await context.close();
  }
}

async function eventually(what, condition) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// ------------------------------------------------------------------------------------------------ what is said

function summary(samples) {
  return Object.fromEntries(Object.entries(samples).map(([name, values]) => {
    const sorted = [...values].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return [name, sorted.length === 0 ? null : { median: at(0.5), p95: at(0.95), samples: sorted.length }];
  }));
}

function tables({ load, processors, chromium, versions }, figures) {
  const names = Object.keys(figures);
  const measured = (measure) => names.filter((name) => figures[name][measure] !== null);
  const pair = (figure) => (figure === null ? "" : `${ms(figure.median)} / ${ms(figure.p95)} ms`);
  const ratio = (name, measure) => (name === "syncline" ? "" : `${(figures[name][measure].median / figures.syncline[measure].median).toFixed(2)}x`);
  const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const label = (name) => SYSTEMS[name].label;
  return [
    `${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")}; Chromium ${chromium}; ${processors} processors; `
      + `load ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after; ${runs} runs, ${count} comments. Median / p95; ratios of medians, to Syncline.`,
    table(["opened from IndexedDB", "interactive", "ratio", "longest task", "memory", "code, gzip"], names.map((name) => [
      label(name), pair(figures[name].interactive), ratio(name, "interactive"), pair(figures[name].longest),
      `${(figures[name].heap.median / 1e6).toFixed(1)} MB`, `${Math.round(figures[name].bytes / 1_000)} KB`,
    ])),
    table(["own key", "to paint", "ratio", "in the input event", "ratio", "all script for a key"], names.map((name) => [
      label(name), pair(figures[name].key), ratio(name, "key"), pair(figures[name].keyWork), ratio(name, "keyWork"), pair(figures[name].keyTask),
    ])),
    table(["another's change to paint", "first comment of a session", "ratio", "comment", "ratio", "key after a pause", "ratio", "key while typing", "ratio"], measured("comment").map((name) => [
      label(name), ...["commentFirst", "comment", "remotePaused", "remoteTyping"].flatMap((measure) => [pair(figures[name][measure]), ratio(name, measure)]),
    ])),
  ].join("\n\n");
}

function ms(value) {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}

async function versions() {
  const wanted = ["@automerge/automerge-repo", "@automerge/automerge", "yjs", "y-websocket", "y-indexeddb"];
  const found = {};
  for (const name of wanted) {
    found[name] = JSON.parse(await readFile(path.join(HERE, "node_modules", name, "package.json"), "utf8")).version;
  }
  return found;
}

function whole(text, option) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`${option} needs a whole number from 1 on`);
  return number;
}

function say(line) {
  console.error(`browser-bench: ${line}`);
}
