/**
 * Gives a client its host: in this tab, or in the tab that leads. Starts another where one has failed, and moves along
 * when the leading tab is gone.
 */

import { errorOf, report, SynclineError } from "./errors.js";
import { Host } from "./host/host.js";
import { Forbidden, IndexedDbStorage } from "./host/indexeddb.js";
import { MemoryStorage } from "./host/memory.js";
import type { ClientPort, FromHost, HostPort } from "./host/messages.js";
import { platform } from "./host/platform.js";
import { Tabs } from "./host/tabs.js";
import { Dialler, endpointOf } from "./host/transport.js";
import { load } from "./host/wasm.js";
import type { ClientOptions, Storage } from "./types.js";
import { Ulids } from "./ulid.js";

/** How often an engine that failed is started again; once it has run for so long, failures before do not count. */
const RESTARTS_MAX = 3;
const WELL_AFTER_MS = 60_000;

export interface ConnectorEvents {
  attach(port: HostPort, leads: boolean): void;
  detach(): void;
  receive(message: FromHost): void;
  /** There will be no host. */
  failed(error: SynclineError): void;
  /** What the engine is told about who is here. */
  token(): string | undefined;
  /** Whether there is no token that is to be waited for. */
  mayConnect(): boolean;
  visible(): boolean;
}

export class Connector {
  readonly #name: string;
  readonly #dialler: Dialler;
  #tabs: Tabs | undefined;
  #host: Host | undefined;
  #storage: (Storage & { flush?: () => void }) | undefined;
  #release: (() => void) | undefined;
  /** Compiled once: what it is compiled of may be readable once only. */
  #instantiate: ReturnType<typeof load> | undefined;
  #restarts = 0;
  #startedAt = 0;
  #over = false;
  /** What the app said last in any tab: to connect, or to disconnect. */
  asked: boolean | undefined;

  constructor(private readonly id: string, private readonly options: ClientOptions, private readonly events: ConnectorEvents) {
    this.#name = options.name ?? `${options.url}|${options.user}`;
    this.#dialler = new Dialler(endpointOf(options.url), options.transport ?? "auto", options.webSocket ?? platform().webSocket);
  }

  get host(): Host | undefined {
    return this.#host;
  }

  get online(): boolean {
    return this.asked ?? this.options.online ?? true;
  }

  get leads(): boolean {
    return this.#host !== undefined;
  }

  start(): void {
    const { locks, hasChannels } = platform();
    if (this.#shares && locks && hasChannels) {
      this.#tabs = new Tabs(this.#name, this.id, locks, () => this.events.visible(), {
        follow: (port) => this.events.attach(port, false),
        receive: (message) => this.events.receive(message),
        lead: () => this.#lead(this.#name),
        alone: () => {
          if (this.#over || !this.#tabs) return;
          this.#tabs = undefined;
          void this.#lead(this.#name);
        },
      });
    } else if (locks && this.#kind === "indexeddb") {
      void this.#alone(locks);
    } else {
      void this.#lead(this.#name);
    }
  }

  setNetwork(network: boolean): void {
    this.#host?.setNetwork(network);
  }

  /** The page may not run any more: gives up what others wait for. */
  suspend(): void {
    this.events.detach();
    const host = this.#host;
    this.#host = undefined;
    host?.abandon();
    void this.#storage?.close();
    this.#storage = undefined;
    this.#tabs?.leave();
    this.#tabs = undefined;
    this.#release?.();
    this.#release = undefined;
  }

  /** Is gone at once, without a word to anybody. */
  crash(): void {
    this.#over = true;
    this.#tabs?.crash();
    this.#host?.abandon();
    this.#host = undefined;
    void this.#storage?.close();
    this.#storage = undefined;
  }

  async stop(): Promise<void> {
    this.#over = true;
    const host = this.#host;
    this.#host = undefined;
    await host?.stop();
    await this.#storage?.close();
    this.#storage = undefined;
    this.#tabs?.leave();
    this.#release?.();
  }

  /** A custom store is this tab's own, and what is in memory goes with it. */
  get #shares(): boolean {
    return this.options.shareTabs ?? this.#kind === "indexeddb";
  }

  get #kind(): "indexeddb" | "memory" | Storage {
    return this.options.storage ?? (platform().hasIndexedDb ? "indexeddb" : "memory");
  }

  /** Tabs that share nothing have a store each: the first that no other holds. */
  async #alone(locks: LockManager): Promise<void> {
    for (let slot = 1; !this.#over; slot++) {
      const name = `${this.#name}#${slot}`;
      const free = await new Promise<boolean>((resolve) => {
        const ask = async () => await locks.request(`syncline:${name}`, { ifAvailable: true }, (lock) => {
          resolve(lock !== null);
          return lock && new Promise<void>((release) => { this.#release = release; });
        });
        // Nobody may hold one, as in a sandboxed page: it is as if there were none.
        ask().catch(() => resolve(true));
      });
      if (free) return await this.#lead(name);
    }
  }

  async #open(name: string): Promise<Storage> {
    const kind = this.#kind;
    if (typeof kind === "object") return kind;
    if (kind === "memory") return new MemoryStorage();
    if (!platform().hasIndexedDb) throw new SynclineError("local_store", "this platform has no IndexedDB");
    try {
      return await IndexedDbStorage.open(`syncline:${name}`);
    } catch (error) {
      if (error instanceof Forbidden && this.options.storage === undefined) return new MemoryStorage();
      throw error;
    }
  }

  /** Begins to lead: never rejects. */
  async #lead(name: string): Promise<void> {
    try {
      const storage = await this.#open(name);
      if (this.#over) return await storage.close();
      this.#storage = storage;
      await this.#begin(storage);
    } catch (error) {
      this.#fail(errorOf(error, "local_store"));
    }
  }

  async #begin(storage: Storage): Promise<void> {
    const instantiate = await (this.#instantiate ??= load(this.options.wasm));
    const module = await instantiate();
    const { user, agent } = this.options;
    const token = this.events.token();
    const config = JSON.stringify({ user, agent: agent ?? "syncline-js", ...(token === undefined ? {} : { token }) });
    let dead: SynclineError | undefined;
    const host = await Host.start(module, { config, storage, dialler: this.#dialler }, (error) => {
      dead = error;
      void this.#died(error);
    });
    // It was suspended or closed meanwhile.
    if (this.#over || this.#storage !== storage) return host.abandon();
    if (dead) throw dead;
    this.#startedAt = Date.now();
    this.#host = host;
    const port: ClientPort = { local: true, receive: (message) => this.events.receive(message) };
    host.attach(port, this.events.visible());
    this.events.attach({
      local: true,
      send: (message) => host.say(port, message),
      read: (topic) => host.read(port, topic),
    }, true);
    this.#tabs?.serve(new Ulids().next(), host);
    host.setNetwork(platform().network);
    host.setOnline(this.online && this.events.mayConnect(), this.asked);
  }

  /** The engine failed. Everything that it was told is stored or asked of the store: another goes on from there. */
  async #died(error: SynclineError): Promise<void> {
    if (!this.#host || this.#over) return;
    this.#host = undefined;
    this.#tabs?.withdraw();
    this.events.detach();
    if (Date.now() - this.#startedAt > WELL_AFTER_MS) this.#restarts = 0;
    const storage = this.#storage;
    if (error.code !== "engine_failed" || this.#restarts >= RESTARTS_MAX || !storage) return this.#fail(error);
    this.#restarts++;
    const message = `${error.message}; it goes on from what is stored (${this.#restarts} of ${RESTARTS_MAX})`;
    this.events.receive({ type: "problem", problem: { code: error.code, message } });
    try {
      await this.#begin(storage);
    } catch (failed) {
      this.#fail(errorOf(failed, "engine_failed"));
    }
  }

  #fail(error: SynclineError): void {
    if (this.#over) return;
    this.events.failed(error);
    // Another tab may have better luck.
    this.stop().catch(report);
  }
}
