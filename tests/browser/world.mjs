// What the tests stand on: real server processes that can be killed and come back, a real Chromium, and people in it.
// Everything waits for a condition; what does not come within PATIENCE fails the test.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

export const PATIENCE = 60_000;
const ROOT = path.resolve(import.meta.dirname, "../..");
const CLI = process.env.SYNCLINE_CLI ?? path.join(ROOT, "target/debug/syncline");
const SERVER = process.env.SYNCLINE_SERVER ?? path.join(ROOT, "target/debug/syncline-server");
export const PICTURES = path.join(ROOT, "target/web/pictures");

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--js-flags=--expose-gc",
];

/** A server process with a data directory and, from its first start on, a port of its own. */
export class Server {
  #process;
  #data;
  #port = 0;

  static async start(...options) {
    const server = new Server();
    server.#data = await mkdtemp(path.join(tmpdir(), "syncline-browser-"));
    server.options = options;
    await server.start();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port() {
    return this.#port;
  }

  async start() {
    const listen = ["--listen", `127.0.0.1:${this.#port}`, "--data", this.#data, "--log", "warn"];
    this.#process = spawn(SERVER, [...listen, ...this.options], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: this.#process.stdout });
    const ended = once(this.#process, "exit").then(([code]) => { throw new Error(`the server ended with ${code}`); });
    ended.catch(() => {});
    const said = await Promise.race([once(lines, "line"), ended]);
    const url = /\w+:\/\/\S+/.exec(said[0])?.[0];
    if (url === undefined) throw new Error(`the server said ${said[0]}`);
    this.#port = Number(new URL(url).port);
  }

  /** As a power cut would: nothing is said, nothing is written. */
  async kill() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }

  async stop() {
    await this.kill();
    await rm(this.#data, { recursive: true, force: true });
  }
}

/** Somebody at a terminal, with a device of his own: the program `syncline`. */
export class Native {
  #options;
  #data;

  static async at(server, user) {
    const native = new Native();
    native.#data = await mkdtemp(path.join(tmpdir(), "syncline-native-"));
    native.#options = ["--server", server.url, "--user", user, "--data", native.#data, "--json"];
    return native;
  }

  /** Runs a command to its end; answers what it said, line by line. */
  async lines(...command) {
    const { stdout } = await promisify(execFile)(CLI, [...command, ...this.#options], { timeout: PATIENCE });
    return stdout.trim().split("\n").map((line) => JSON.parse(line));
  }

  /** The same for what it said last. */
  async run(...command) {
    return (await this.lines(...command)).at(-1);
  }

  /** The heads of a post's documents, as they are on this device in the end. */
  async heads(address, ...options) {
    return (await this.lines("export", address, ...options)).map(({ heads }) => heads);
  }

  /** Looks on until it is told to end. */
  async watch(address) {
    const child = spawn(CLI, ["watch", address, ...this.#options], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(child, "exit");
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { said += text; });
    await once(child.stdout, "data");
    return {
      says: async (text) => await eventually(`"${text}" at the terminal`, () => said.includes(text)),
      end: async () => {
        child.kill("SIGINT");
        await ended;
      },
    };
  }

  async leave() {
    await rm(this.#data, { recursive: true, force: true });
  }
}

/** Starts a browser. One of its contexts is what a person's browser is: a store and tabs of its own. */
export async function browser(...flags) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) throw new Error(`there is no browser at ${executablePath}; set CHROMIUM`);
  return await chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...flags] });
}

/** Somebody with a browser of his own and any number of tabs in it. */
export class Person {
  /** What a page complained about; a test that ends with any has failed. */
  complaints = [];

  static async at(browser, server, user, options = {}) {
    const person = new Person();
    person.user = user;
    person.server = server;
    person.context = await browser.newContext({ viewport: { width: 1200, height: 900 }, reducedMotion: "reduce", ...options });
    person.context.setDefaultTimeout(PATIENCE);
    return person;
  }

  async tab(place = "#/", space = "town") {
    const page = await this.context.newPage();
    listen(page, this.complaints);
    await page.goto(`${this.server.url}/?user=${this.user}&space=${space}${place}`);
    await started(page);
    return page;
  }

  async leave() {
    await this.context.close();
    if (this.complaints.length > 0) throw new Error(`${this.user}'s pages complained:\n${this.complaints.join("\n")}`);
  }
}

/** Gathers what a page complains about. */
export function listen(page, complaints) {
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  page.on("console", (message) => {
    // A connection that can't be made is told by the browser itself, and is no mistake of the page.
    if (message.type() === "error" && !/Failed to load resource|WebSocket connection|net::ERR/.test(message.text())) complaints.push(message.text());
  });
}

/** Waits until a page's client runs. */
export async function started(page) {
  await page.waitForFunction(() => globalThis.syncline !== undefined);
  await page.evaluate(() => globalThis.syncline.ready);
}

/** Waits until a condition holds in a page; `argument` is handed to it. */
export async function until(page, condition, argument) {
  await page.waitForFunction(condition, argument, { polling: 50, timeout: PATIENCE });
}

/** Waits until something outside of pages is as it should be. */
export async function eventually(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > end) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function inPhase(page, ...phases) {
  await until(page, (wanted) => wanted.includes(globalThis.syncline.connection.getSnapshot().phase), phases);
}

export async function synced(page) {
  await until(page, () => globalThis.syncline.sync.getSnapshot().synced);
}

/** Writes a post by the form of the feed; answers its address. The page shows it afterwards. */
export async function write(page, title, body = "", space = "town") {
  await page.getByRole("textbox", { name: "Title" }).fill(title);
  if (body !== "") await page.getByRole("textbox", { name: "Text" }).fill(body);
  await page.getByRole("button", { name: "Post", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: title }).waitFor();
  const id = await page.evaluate(() => location.hash.split("/")[2]);
  return `${space}/${id}`;
}

export function postAt(address) {
  return `#/post/${address.split("/")[1]}`;
}

/** The box in which a post's text is written. */
export function editor(page) {
  return page.getByRole("textbox", { name: "Text of the post" });
}

/** What that box shows. */
export async function shown(page) {
  return await editor(page).evaluate((box) => [...box.querySelectorAll(".cm-line")].map((line) => line.textContent).join("\n"));
}

/** Waits until that box shows a text. */
export async function reads(page, text) {
  await eventually(`"${text}" in the editor`, async () => (await shown(page)).includes(text));
}

export async function comment(page, text) {
  const field = page.getByRole("textbox", { name: "Write a comment" });
  await field.fill(text);
  await page.getByRole("button", { name: "Comment", exact: true }).click();
}

/** Each page shows the same for a post and its comments, and has the same heads. */
export async function agree(address, ...pages) {
  for (const facet of ["post", "comments", "likes"]) {
    await eventually(`agreement about the ${facet}`, async () => {
      const states = await Promise.all(pages.map((page) => page.evaluate(async ([address, facet]) => {
        const client = globalThis.syncline;
        const handle = client[facet](address);
        const { ready, live, pending } = handle.status.getSnapshot();
        if (!ready || !live || pending > 0) return `${Math.random()}`;
        return JSON.stringify([handle.getSnapshot(), await client.heads(handle.address)], (key, value) => (key === "mine" ? undefined : value));
      }, [address, facet])));
      return states.every((state) => state === states[0]);
    });
  }
}

/** The bodies of the comments that a page shows, in their order. */
export async function comments(page, address) {
  return await page.evaluate((address) => globalThis.syncline.comments(address).getSnapshot().thread.map(({ body }) => body), address);
}

/** Takes a picture into `target`, for people to look at. */
export async function picture(page, name, options = {}) {
  await mkdir(PICTURES, { recursive: true });
  await page.screenshot({ path: path.join(PICTURES, `${name}.png`), animations: "disabled", ...options });
}

/** What axe finds serious or critical on a page, in words; `rules` as axe takes them. */
export async function findings(page, rules = {}) {
  // As from the browser's own console: a page's policy may allow no foreign scripts.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, { resultTypes: ["violations"], rules }), rules);
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(" | ")}`);
}
