/**
 * Drives one engine: hands in what happens, carries out what it asks, in order, and passes on what it tells.
 * Decides nothing about sync and knows no clients.
 */

import { errorOf, messageOf, SynclineError } from "../errors.js";
import type { ConnectionStatus, Storage, Transport } from "../types.js";
import type { Effect, Engine, EngineModule, Notice } from "./engine.js";
import type { Dialler, Link } from "./transport.js";

/** A wake in the past must not keep a processor busy. */
const NAP_MS_MIN = 1;
/** Longer waits overflow in timers. */
const NAP_MS_MAX = 60 * 60 * 1000;
/** How long an orderly end may take before the engine is ended anyway. */
const STOP_MS = 3_000;

export interface CoreOptions {
  readonly config: string;
  readonly storage: Storage & { flush?: () => void };
  readonly dialler: Dialler;
}

export interface CoreEvents {
  notice(notice: Notice): void;
  /** This many of the writes asked for are on disk. */
  written(count: number): void;
  /** All that followed from one input is done. */
  settled(): void;
  frame(direction: "in" | "out", bytes: number): void;
  /** The engine is dead: of a trap (`engine_failed`) or because its store failed. */
  died(error: SynclineError): void;
}

export class Core {
  #engine: Engine | undefined;
  #link: { connection: number; link: Link } | undefined;
  #way: Exclude<Transport, "auto"> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #notices: Notice[] = [];
  #telling = false;
  /** Write requests made so far, and of these, how many are on disk. */
  #asked = 0;
  #written = 0;
  #stopped: (() => void) | undefined;

  private constructor(engine: Engine, private readonly options: CoreOptions, private readonly events: CoreEvents) {
    this.#engine = engine;
  }

  /** Begins a session from what the store holds. */
  static async start(module: EngineModule, options: CoreOptions, events: CoreEvents): Promise<Core> {
    const stored = await options.storage.read(module.Engine.metaPrefix()).catch((error: unknown) => {
      throw errorOf(error, "local_store");
    });
    let engine: Engine;
    try {
      engine = module.Engine.start(options.config, stored.map(([key]) => key), stored.map(([, value]) => value));
    } catch (error) {
      throw errorOf(error, error instanceof WebAssembly.RuntimeError ? "engine_failed" : "local_store");
    }
    return new Core(engine, options, events);
  }

  get alive(): boolean {
    return this.#engine !== undefined;
  }

  get asked(): number {
    return this.#asked;
  }

  get written(): number {
    return this.#written;
  }

  get way(): ConnectionStatus["transport"] {
    return this.#way;
  }

  /** Hands something in and does everything that follows from it. */
  input<T>(call: (engine: Engine, now: number) => T): T {
    const engine = this.#engine;
    if (!engine) throw new SynclineError("engine_failed", "the engine is not running");
    let answer: T;
    try {
      answer = call(engine, Date.now());
    } catch (error) {
      if (this.#dies(error)) throw errorOf(error, "engine_failed");
      this.#carryOut(engine);
      throw error;
    }
    this.#carryOut(engine);
    return answer;
  }

  /** The same for what happens by itself: nobody is there to be told that it failed. */
  happened(call: (engine: Engine, now: number) => void): void {
    if (!this.#engine) return;
    try {
      this.input(call);
    } catch (error) {
      if (!this.#engine) return;
      const { code, message } = errorOf(error, "engine_failed");
      this.events.notice({ type: "problem", code, message });
    }
  }

  /** Looks at something, which changes nothing. */
  look<T>(call: (engine: Engine) => T): T | undefined {
    if (!this.#engine) return undefined;
    try {
      return call(this.#engine);
    } catch (error) {
      if (!this.#dies(error)) throw error;
      return undefined;
    }
  }

  /** Ends in good order: says goodbye, and waits until everything is stored. */
  async stop(): Promise<void> {
    if (this.#engine) {
      const stopped = new Promise<void>((resolve) => {
        this.#stopped = resolve;
        setTimeout(resolve, STOP_MS);
      });
      this.happened((engine, now) => engine.shutdown(now));
      if (this.#engine) await stopped;
    }
    this.abandon();
  }

  /** Ends at once. What was asked of the store is still done. */
  abandon(): void {
    clearTimeout(this.#timer);
    this.options.storage.flush?.();
    this.#link?.link.close();
    this.#link = undefined;
    const engine = this.#engine;
    this.#engine = undefined;
    this.#stopped?.();
    if (engine) free(engine);
  }

  #dies(error: unknown): boolean {
    if (!(error instanceof WebAssembly.RuntimeError) || !this.#engine) return false;
    // The memory of a dead instance is not to be touched, not even to free it.
    this.#engine = undefined;
    this.abandon();
    this.events.died(new SynclineError("engine_failed", `the engine failed: ${error.message}`, { cause: error }));
    return true;
  }

  #carryOut(engine: Engine): void {
    let effects: Effect[];
    try {
      effects = engine.effects();
    } catch (error) {
      if (this.#dies(error)) return;
      throw error;
    }
    for (const effect of effects) this.#effect(effect);
    // What is told may lead to more, which is told after it.
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let notice = this.#notices.shift(); notice; notice = this.#notices.shift()) this.events.notice(notice);
      this.events.settled();
    } finally {
      this.#telling = false;
    }
    this.#arm();
  }

  #effect(effect: Effect): void {
    switch (effect.kind) {
      case "connect": return this.#connect(effect.connection);
      case "send":
        if (this.#link?.connection === effect.connection) {
          this.events.frame("out", effect.message.length);
          this.#link.link.send(effect.message);
        }
        return;
      case "disconnect":
        if (this.#link?.connection === effect.connection) this.#link.link.close();
        return;
      case "write": return this.#write(effect);
      case "read": return this.#read(effect.token, effect.prefix);
      case "notice":
        this.#notices.push(JSON.parse(effect.notice) as Notice);
        return;
      case "stop":
        this.#stopped?.();
    }
  }

  #connect(connection: number): void {
    const link = this.options.dialler.dial({
      opened: (way) => {
        if (this.#link?.connection !== connection) return;
        this.#way = way;
        this.happened((engine, now) => engine.connected(now, connection));
      },
      received: (message) => {
        if (this.#link?.connection !== connection) return;
        this.events.frame("in", message.length);
        this.happened((engine, now) => engine.received(now, connection, message));
      },
      closed: (code, reason) => {
        if (this.#link?.connection === connection) {
          this.#link = undefined;
          this.#way = undefined;
        }
        this.happened((engine, now) => engine.disconnected(now, connection, code, reason));
      },
    });
    this.#link = { connection, link };
  }

  #write({ token, keys, values }: Extract<Effect, { kind: "write" }>): void {
    this.#asked++;
    this.options.storage.write(keys.map((key, at) => [key, values[at] ?? null] as const)).then(
      () => {
        this.#written++;
        this.happened((engine, now) => engine.written(now, token, undefined));
        this.events.written(this.#written);
      },
      (error: unknown) => {
        if (!this.#engine) return;
        const failed = errorOf(error, "local_store");
        this.happened((engine, now) => engine.written(now, token, failed.message));
        // Nothing more can be promised.
        this.abandon();
        this.events.died(failed);
      },
    );
  }

  #read(token: number, prefix: Uint8Array): void {
    this.options.storage.read(prefix).then(
      (entries) => this.happened((engine, now) =>
        engine.read(now, token, entries.map(([key]) => key), entries.map(([, value]) => value), undefined)),
      (error: unknown) => this.happened((engine, now) => engine.read(now, token, [], [], messageOf(error))),
    );
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const at = this.look((engine) => engine.timeout());
    if (at === undefined) return;
    const nap = Math.min(Math.max(at - Date.now(), NAP_MS_MIN), NAP_MS_MAX);
    this.#timer = setTimeout(() => this.happened((engine, now) => engine.tick(now)), nap);
  }
}

function free(engine: Engine): void {
  try {
    engine.free();
  } catch {
    // It is in use further up, and is gone with its instance.
  }
}
