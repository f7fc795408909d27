/**
 * The tabs that share a name: one leads, as long as it holds a lock; the others talk to it over a channel. When the
 * lock goes (the tab closed, crashed, or froze), the next one leads, and says so.
 */

import type { ClientPort, FromHost, HostPort, ToHost, Topic } from "./messages.js";
import type { Host } from "./host.js";

/** On the channel. `host` names one reign: what was meant for another is not heard. */
type Note =
  /** A client looks for a host. */
  | { kind: "hello"; from: string }
  /** A host says that it is there, to one or to all. */
  | { kind: "here"; to: string; host: string }
  | { kind: "up"; host: string; from: string; visible: boolean; say: ToHost }
  | { kind: "down"; to: string; host: string; say: FromHost };

const EVERYONE = "*";

export interface TabEvents {
  /** Another tab leads: this is how to talk to it. */
  follow(port: HostPort): void;
  receive(message: FromHost): void;
  /** This tab leads from here on, until the promise ends. */
  lead(): Promise<void>;
  /** The platform has locks and lets nobody hold one, as in a sandboxed page: there are no other tabs to this one. */
  alone(): void;
}

export class Tabs {
  readonly #channel: BroadcastChannel;
  readonly #leaving = new AbortController();
  /** Ends the reign of this tab. */
  #abdicate: (() => void) | undefined;
  #host: { name: string; host: Host } | undefined;
  #following: string | undefined;
  readonly #clients = new Map<string, { port: ClientPort; stop: AbortController }>();
  #over = false;

  constructor(
    private readonly name: string,
    private readonly id: string,
    private readonly locks: LockManager,
    private readonly visible: () => boolean,
    private readonly events: TabEvents,
  ) {
    this.#channel = new BroadcastChannel(`syncline:${name}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data as Note);
    // As long as this is held, this client is there.
    void this.#lock(this.#lockOf(id), () => this.#gone());
    void this.#lock(`syncline:${name}`, () => this.#lead());
    this.#say({ kind: "hello", from: id });
  }

  /** This tab's host is up: the others are told. */
  serve(name: string, host: Host): void {
    this.#host = { name, host };
    this.#say({ kind: "here", to: EVERYONE, host: name });
  }

  /** This tab's host is gone. */
  withdraw(): void {
    this.#host = undefined;
    for (const id of [...this.#clients.keys()]) this.#forget(id);
  }

  leave(): void {
    if (!this.#over && this.#following !== undefined) this.#toHost(this.#following, { type: "bye" });
    this.crash();
  }

  /** Is gone without a word: the locks tell. */
  crash(): void {
    if (this.#over) return;
    this.#over = true;
    this.withdraw();
    this.#channel.close();
    this.#leaving.abort();
    this.#abdicate?.();
  }

  async #lock(name: string, granted: () => Promise<void>): Promise<void> {
    let wasGranted = false;
    try {
      await this.locks.request(name, { signal: this.#leaving.signal }, () => {
        wasGranted = true;
        return granted();
      });
    } catch {
      // It leaves, or the lock was taken away.
      if (wasGranted || this.#over) return;
      this.crash();
      // Not before whoever made this has it.
      queueMicrotask(() => this.events.alone());
    }
  }

  #gone(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) resolve();
      else this.#leaving.signal.addEventListener("abort", () => resolve());
    });
  }

  async #lead(): Promise<void> {
    if (this.#over) return;
    this.#following = undefined;
    const abdicated = new Promise<void>((resolve) => { this.#abdicate = resolve; });
    await this.events.lead();
    await abdicated;
  }

  #hear(note: Note): void {
    if (this.#over) return;
    switch (note.kind) {
      case "hello":
        if (this.#host) this.#say({ kind: "here", to: note.from, host: this.#host.name });
        return;
      case "here":
        if (note.to === this.id || note.to === EVERYONE) this.#follow(note.host);
        return;
      case "up":
        if (note.host === this.#host?.name) this.#serve(note.from, note.visible, note.say);
        return;
      case "down":
        if (note.to === this.id && note.host === this.#following) this.events.receive(note.say);
    }
  }

  #follow(host: string): void {
    if (this.#host || this.#following === host) return;
    this.#following = host;
    const send = (message: ToHost) => {
      if (this.#following === host) this.#toHost(host, message);
    };
    this.events.follow({ local: false, send, read: (_: Topic) => undefined });
  }

  #toHost(host: string, say: ToHost): void {
    this.#say({ kind: "up", host, from: this.id, visible: this.visible(), say });
  }

  #serve(id: string, visible: boolean, say: ToHost): void {
    const { name, host } = this.#host!;
    let client = this.#clients.get(id);
    if (!client) {
      const port: ClientPort = {
        local: false,
        receive: (message) => this.#say({ kind: "down", to: id, host: name, say: message }),
      };
      client = { port, stop: new AbortController() };
      this.#clients.set(id, client);
      host.attach(port, visible);
      // Who does not say goodbye loses its lock.
      void this.locks.request(this.#lockOf(id), { signal: client.stop.signal }, () => this.#forget(id)).catch(() => {});
    }
    host.say(client.port, say);
    if (say.type === "bye") this.#forget(id);
  }

  #forget(id: string): void {
    const client = this.#clients.get(id);
    if (!client) return;
    this.#clients.delete(id);
    client.stop.abort();
    this.#host?.host.detach(client.port);
  }

  #lockOf(id: string): string {
    return `syncline:${this.name}:${id}`;
  }

  #say(note: Note): void {
    if (!this.#over) this.#channel.postMessage(note);
  }
}
