// A device around an Engine, a server, and waiting for what they come to.
// Build first: `cargo xtask wasm`, `cargo build --package syncline-server`.

import { spawn } from "node:child_process";
import { EventEmitter, on } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

import { Engine, initSync } from "../../target/wasm/web/syncline_wasm.js";

const root = path.resolve(import.meta.dirname, "../..");
initSync({ module: readFileSync(path.join(root, "target/wasm/web/syncline_wasm_bg.wasm")) });

export { Engine };

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));

/** Something happened to any device. */
const steps = new EventEmitter().setMaxListeners(0);

/** Waits until `look` answers something that is true, looking after each step of any device. */
export async function until(look) {
  const listening = on(steps, "step");
  try {
    for (;;) {
      const seen = look();
      if (seen) return seen;
      await listening.next();
    }
  } finally {
    await listening.return();
  }
}

/** What survives a device: an ordered map of byte strings. */
export class Store {
  entries = new Map();

  read(prefix) {
    const from = hex(prefix);
    const keys = [...this.entries.keys()].filter((key) => key.startsWith(from)).sort();
    return [keys.map(unhex), keys.map((key) => this.entries.get(key))];
  }

  write(keys, values) {
    keys.forEach((key, at) => {
      if (values[at] === null) this.entries.delete(hex(key));
      else this.entries.set(hex(key), values[at]);
    });
  }
}

/** One tab of one user: drives an engine as a host does. */
export class Device {
  notices = [];
  socket;
  timer;
  alive = true;

  constructor(server, user, store = new Store()) {
    Object.assign(this, { server, user, store });
    const [keys, values] = store.read(Engine.metaPrefix());
    const config = JSON.stringify({ user, agent: "test/1" });
    this.engine = Engine.start(config, keys, values);
    this.carryOut();
  }

  /** Hands something in that takes the time first. */
  do(method, ...args) {
    try {
      return this.engine[method](Date.now(), ...args);
    } finally {
      this.carryOut();
    }
  }

  execute(address, command, id) {
    return this.do("execute", address, JSON.stringify(command), id);
  }

  /** Opens documents and waits until they are read. */
  async open(...addresses) {
    for (const address of addresses) this.do("open", address, false);
    await until(() => addresses.every((address) => this.engine.view(address) !== undefined));
  }

  view(address) {
    return JSON.parse(this.engine.view(address) ?? "null");
  }

  json(method, ...args) {
    return JSON.parse(this.engine[method](...args) ?? "null");
  }

  /** How a command ended, once it has. */
  async resolution(id) {
    const told = (notice) => notice.type === "resolved" && notice.id === id;
    return (await until(() => this.notices.find(told))).resolution;
  }

  async settled() {
    await until(() => {
      const stats = this.json("stats");
      return stats.pending === 0 && stats.live === stats.documents;
    });
  }

  carryOut() {
    if (!this.alive) return;
    const effects = this.engine.effects();
    for (const effect of effects) this.effect(effect);
    clearTimeout(this.timer);
    const at = this.engine.timeout();
    if (at !== undefined) {
      const nap = Math.min(Math.max(at - Date.now(), 0), 1 << 30);
      this.timer = setTimeout(() => this.do("tick"), nap);
    }
    // Who only looks does not wake those who look.
    if (effects.length > 0) steps.emit("step");
  }

  effect(effect) {
    const later = (method, ...args) => setImmediate(() => this.alive && this.do(method, ...args));
    switch (effect.kind) {
      case "connect": return this.connect(effect.connection);
      case "send": return this.socket.send(effect.message);
      case "disconnect": return this.socket?.close();
      case "write":
        this.store.write(effect.keys, effect.values);
        return later("written", effect.token, undefined);
      case "read":
        return later("read", effect.token, ...this.store.read(effect.prefix), undefined);
      case "notice": return this.notices.push(JSON.parse(effect.notice));
      case "stop": this.stopped = true;
    }
  }

  connect(connection) {
    const socket = new WebSocket(this.server.url, ["syncline.v1"]);
    socket.binaryType = "nodebuffer";
    const tell = (method, ...args) => this.alive && this.do(method, connection, ...args);
    socket.on("open", () => tell("connected"));
    socket.on("message", (data) => tell("received", new Uint8Array(data)));
    socket.on("error", () => {});
    socket.on("close", (code, reason) => tell("disconnected", code, String(reason)));
    this.socket = socket;
  }

  /** Leaves in good order. */
  async stop() {
    this.do("shutdown");
    await until(() => this.stopped);
    this.kill();
  }

  /** Is gone without a word, as a tab that is closed. */
  kill() {
    if (!this.alive) return;
    this.alive = false;
    clearTimeout(this.timer);
    this.socket?.terminate();
    this.engine.free();
  }
}

/** The real server, on a port of its choice. */
export async function startServer() {
  const data = mkdtempSync(path.join(tmpdir(), "syncline-engine-test-"));
  const binary = process.env.SYNCLINE_SERVER ?? path.join(root, "target/debug/syncline-server");
  const args = ["--listen", "127.0.0.1:0", "--log", "warn", "--data", data];
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await lines[Symbol.asyncIterator]().next()).value?.match(/wss?:\/\/\S+/) ?? [];
  if (!line) throw new Error("the server does not say where it listens");
  return {
    url: line,
    async stop() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
      rmSync(data, { recursive: true, force: true });
    },
  };
}
