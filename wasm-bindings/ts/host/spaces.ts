/** Who of the clients is in which space, and what each announces there: the session is one device to the others. */

import type { Engine } from "./engine.js";
import type { ClientPort } from "./messages.js";

interface Saying {
  readonly by: ClientPort;
  readonly value: string;
  readonly until: number;
}

interface Stay {
  readonly inside: Map<ClientPort, boolean>;
  /** What was announced last under each key. */
  readonly sayings: Map<string, Saying>;
}

type Input = (call: (engine: Engine, now: number) => void) => void;

/** Something announced lapses by itself on the server; said again before it does, it does not flicker. */
const AGAIN_AFTER = 0.5;

export class Spaces {
  readonly #stays = new Map<string, Stay>();

  constructor(private readonly input: Input) {}

  enter(port: ClientPort, space: string, visible: boolean): void {
    let stay = this.#stays.get(space);
    if (!stay) this.#stays.set(space, (stay = { inside: new Map(), sayings: new Map() }));
    stay.inside.set(port, visible);
    this.input((engine, now) => engine.enter(now, space, visible));
  }

  leave(port: ClientPort, space: string): void {
    const stay = this.#stays.get(space);
    if (!stay?.inside.delete(port)) return;
    if (stay.inside.size === 0) {
      this.#stays.delete(space);
      this.input((engine, now) => engine.leave(now, space));
      return;
    }
    for (const [key, { by }] of stay.sayings) if (by === port) this.announce(port, space, key, undefined, undefined);
  }

  leaveAll(port: ClientPort): void {
    for (const space of [...this.#stays.keys()]) this.leave(port, space);
  }

  announce(port: ClientPort, space: string, key: string, value: string | undefined, ttlMs: number | undefined): void {
    const sayings = this.#stays.get(space)?.sayings;
    const before = sayings?.get(key);
    const now = Date.now();
    if (value === undefined) {
      // What another tab has said since stands.
      if (before && before.by !== port) return;
      sayings?.delete(key);
    } else {
      const fresh = before?.value === value && before.by === port && before.until > now + (ttlMs ?? 0) * AGAIN_AFTER;
      if (fresh) return;
      sayings?.set(key, { by: port, value, until: ttlMs === undefined ? Infinity : now + ttlMs });
    }
    this.input((engine, at) => engine.announce(at, space, key, value, ttlMs));
  }
}
