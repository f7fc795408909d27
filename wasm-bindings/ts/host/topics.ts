/** Who watches what, and what of it has changed since it was read last. */

import { keyOf, type ClientPort, type Topic, type TopicKind } from "./messages.js";

export interface Watch {
  readonly port: ClientPort;
  /** How many newest posts of a feed. */
  readonly wants: number;
  dirty: boolean;
  /** Comments that may have changed; `undefined` stands for all. */
  changed: Set<string> | undefined;
  /** What a client in another tab was sent last. */
  sent: unknown;
}

interface Watched {
  readonly topic: Topic;
  readonly watches: Map<ClientPort, Watch>;
}

export class Topics {
  readonly #watched = new Map<string, Watched>();
  /** Watches of clients in other tabs that something is to be sent to. */
  readonly #due = new Set<Watched>();
  #scheduled = false;

  /** `read` says what a watcher is to see of a topic. */
  constructor(private readonly read: (topic: Topic, watch: Watch) => unknown) {}

  get size(): number {
    return this.#watched.size;
  }

  watch(port: ClientPort, topic: Topic, wants: number): void {
    const key = keyOf(topic);
    let watched = this.#watched.get(key);
    if (!watched) this.#watched.set(key, (watched = { topic, watches: new Map() }));
    watched.watches.set(port, { port, wants, dirty: true, changed: undefined, sent: undefined });
    this.#tell(watched);
  }

  unwatch(port: ClientPort, topic: Topic): void {
    const key = keyOf(topic);
    const watched = this.#watched.get(key);
    if (!watched?.watches.delete(port) || watched.watches.size > 0) return;
    this.#watched.delete(key);
    this.#due.delete(watched);
  }

  of(port: ClientPort): Topic[] {
    return [...this.#watched.values()].filter(({ watches }) => watches.has(port)).map(({ topic }) => topic);
  }

  find(port: ClientPort, topic: Topic): Watch | undefined {
    return this.#watched.get(keyOf(topic))?.watches.get(port);
  }

  /** The most that any watcher of topics of a kind and name wants. */
  wanted(kind: TopicKind, name: string): number {
    let most = 0;
    for (const { topic, watches } of this.#watched.values()) {
      if (topic[0] !== kind || topic[1] !== name) continue;
      for (const { wants } of watches.values()) most = Math.max(most, wants);
    }
    return most;
  }

  /** Something may show something else; of comments, only these. */
  touch(topic: Topic, changed?: Iterable<string>): void {
    const watched = this.#watched.get(keyOf(topic));
    if (watched) this.#touch(watched, changed);
  }

  /** The same for all topics of a kind whose first name is this. */
  touchAll(kind: TopicKind, matches: (name: string) => boolean): void {
    for (const watched of this.#watched.values()) {
      if (watched.topic[0] === kind && matches(watched.topic[1] ?? "")) this.#touch(watched, undefined);
    }
  }

  #touch(watched: Watched, changed: Iterable<string> | undefined): void {
    for (const watch of watched.watches.values()) {
      watch.dirty = true;
      if (changed === undefined) watch.changed = undefined;
      else if (watch.changed) for (const id of changed) watch.changed.add(id);
    }
    this.#tell(watched);
  }

  #tell(watched: Watched): void {
    for (const { port } of watched.watches.values()) {
      if (port.local) port.receive({ type: "dirty", topic: watched.topic });
      else this.#due.add(watched);
    }
    if (this.#due.size === 0 || this.#scheduled) return;
    this.#scheduled = true;
    // Timers of a tab out of sight are slow; this is not.
    queueMicrotask(() => this.#send());
  }

  #send(): void {
    this.#scheduled = false;
    for (const { topic, watches } of this.#due) {
      for (const watch of watches.values()) {
        if (watch.port.local || !watch.dirty) continue;
        const value = this.read(topic, watch);
        if (value === undefined || (typeof value === "string" && value === watch.sent)) continue;
        if (typeof value === "string") watch.sent = value;
        watch.port.receive({ type: "update", topic, value });
      }
    }
    this.#due.clear();
  }
}
