/**
 * Commands on their way: each is kept until the host has stored it and handed to the next host otherwise, always under
 * the same id; how it ends is told to the app exactly once.
 */

import { SynclineError } from "./errors.js";
import type { Ending, FromHost, How } from "./host/messages.js";
import type { Link } from "./link.js";
import { Listeners } from "./store.js";
import type { ClientEvents, Command, Pending, Resolution } from "./types.js";
import type { Ulids } from "./ulid.js";

/** Endings of which it is remembered that they were told, should another host tell them again. */
const HEARD_MAX = 4_096;

class Underway implements Pending {
  readonly stored: Promise<void>;
  readonly #done: Promise<Resolution>;
  isStored = false;
  #onStored!: () => void;
  #resolve!: (resolution: Resolution) => void;
  #reject!: (error: SynclineError) => void;
  #failStored!: (error: SynclineError) => void;

  constructor(readonly id: string, readonly address: string, readonly command: string, readonly how: How) {
    this.stored = new Promise((resolve, reject) => {
      this.#onStored = resolve;
      this.#failStored = reject;
    });
    this.#done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Nobody has to wait for it.
    this.stored.catch(() => {});
    this.#done.catch(() => {});
  }

  readonly then: Pending["then"] = (resolved, rejected) => this.#done.then(resolved, rejected);

  wasStored(): void {
    this.isStored = true;
    this.#onStored();
  }

  resolve(resolution: Resolution): void {
    this.wasStored();
    this.#resolve(resolution);
  }

  fail(error: SynclineError): void {
    this.#failStored(error);
    this.#reject(error);
  }
}

type Events = { [E in keyof ClientEvents]: Listeners<[ClientEvents[E]]> };

export class Commands {
  readonly #underway = new Map<string, Underway>();
  readonly #heard = new Set<string>();
  /** Endings of a session before, until somebody listens. */
  readonly #untold = new Map<string, Ending>();
  readonly #releases = new Map<string, () => void>();

  /** `counted` is called when there are more or fewer of them. */
  constructor(
    private readonly link: Link, private readonly ids: Ulids, private readonly events: Events,
    private readonly counted: () => void,
  ) {
    link.handle((message) => this.#receive(message));
    link.onAttach(() => this.#resume());
  }

  /** What has no end yet. */
  get size(): number {
    return this.#underway.size;
  }

  /** `hold` keeps the document open until the command is stored. */
  execute(address: string, command: Command, how: How, hold: () => () => void): Pending {
    const underway = new Underway(this.ids.next(), address, JSON.stringify(command), how);
    if (this.link.over) {
      underway.fail(this.link.over);
      return underway;
    }
    const { id } = underway;
    this.#underway.set(id, underway);
    this.#releases.set(id, hold());
    this.counted();
    this.link.send({ type: "execute", id, address, command: underway.command, how });
    return underway;
  }

  /** Somebody listens for endings: what was told to nobody is told. */
  listened(): void {
    if (this.#untold.size === 0) return;
    queueMicrotask(() => {
      for (const ending of [...this.#untold.values()]) this.#tell(ending);
    });
  }

  #resume(): void {
    const waiting = [...this.#underway.values()];
    const ids = waiting.filter(({ isStored }) => isStored).map(({ id }) => id);
    if (ids.length > 0) this.link.send({ type: "expect", ids });
    for (const { id, address, command, how, isStored } of waiting) {
      if (!isStored) this.link.send({ type: "execute", id, address, command, how });
    }
  }

  #receive(message: FromHost): void {
    switch (message.type) {
      case "stored":
        this.#underway.get(message.id)?.wasStored();
        return this.#release(message.id);
      case "failed":
        this.#underway.get(message.id)?.fail(new SynclineError(message.code, message.message));
        return this.#forget(message.id);
      case "ending": return this.#ended(message.ending, message.live);
      case "ended": {
        if (!this.link.over) return;
        for (const underway of [...this.#underway.values()]) {
          underway.fail(this.link.over);
          this.#forget(underway.id);
        }
      }
    }
  }

  #ended(ending: Ending, live: boolean): void {
    const { id, resolution } = ending;
    if (this.#heard.has(id)) return this.link.send({ type: "heard", id });
    const underway = this.#underway.get(id);
    underway?.resolve(resolution);
    this.#forget(id);
    const listens = this.events.resolved.size + this.events.rolledBack.size > 0;
    if (!live && !underway && !listens) this.#untold.set(id, ending);
    else this.#tell(ending);
  }

  #tell(ending: Ending): void {
    const { id } = ending;
    this.#untold.delete(id);
    if (this.#heard.has(id)) return;
    this.#heard.add(id);
    if (this.#heard.size > HEARD_MAX) this.#heard.delete(this.#heard.values().next().value!);
    this.events.resolved.tell(ending);
    const { resolution } = ending;
    if (resolution.type !== "confirmed") this.events.rolledBack.tell({ ...ending, resolution });
    this.link.send({ type: "heard", id });
  }

  #forget(id: string): void {
    if (this.#underway.delete(id)) this.counted();
    this.#release(id);
  }

  #release(id: string): void {
    this.#releases.get(id)?.();
    this.#releases.delete(id);
  }
}
