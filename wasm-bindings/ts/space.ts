/** Being in a space: who else is there, and what everybody announces. */

import { parsed } from "./documents/handle.js";
import type { Link } from "./link.js";
import type { TopicStore } from "./store.js";
import type { Json, Space, SpaceView, Store } from "./types.js";

const APART: SpaceView = { phase: "apart", members: [], lastSeen: {} };
const NOBODY: readonly string[] = [];
/** Who stops without a word types for so long. */
const TYPING_MS = 6_000;

export class SpaceHandle implements Space {
  readonly getSnapshot: () => SpaceView;
  readonly getServerSnapshot: () => SpaceView;
  readonly subscribe: (listener: () => void) => () => void;
  readonly #view: TopicStore<SpaceView>;
  /** The calls of `enter` that stand, and whether each wants to be seen. */
  readonly #stays = new Set<{ readonly visible: boolean }>();
  /** What lasts as long as the stay. */
  readonly #sayings = new Map<string, string>();

  constructor(private readonly link: Link, readonly name: string, private readonly entered: (inside: boolean) => void) {
    this.#view = link.store({ topic: ["space", name], initial: APART, reduce: parsed });
    ({ getSnapshot: this.getSnapshot, getServerSnapshot: this.getServerSnapshot, subscribe: this.subscribe } = this.#view);
  }

  enter(options: { visible?: boolean } = {}): () => void {
    const stay = { visible: options.visible ?? true };
    const seen = this.#visible;
    this.#stays.add(stay);
    if (this.#stays.size === 1 || seen !== this.#visible) this.#say();
    this.entered(true);
    return () => {
      if (!this.#stays.delete(stay) || this.#stays.size > 0) return;
      this.#sayings.clear();
      this.link.send({ type: "leave", space: this.name });
      this.entered(false);
    };
  }

  /** Enters again at another host, and says again what stands. */
  resume(): void {
    this.#say();
    for (const [key, value] of this.#sayings) this.link.send({ type: "announce", space: this.name, key, value });
  }

  announce(key: string, value: Json | undefined, options: { ttlMs?: number } = {}): void {
    const said = value === undefined ? undefined : JSON.stringify(value);
    if (said === undefined || options.ttlMs !== undefined) this.#sayings.delete(key);
    else if (this.#stays.size > 0) this.#sayings.set(key, said);
    this.link.send({ type: "announce", space: this.name, key, value: said, ttlMs: options.ttlMs });
  }

  setTyping(address: string, typing: boolean): void {
    this.announce("typing", typing ? address : undefined, typing ? { ttlMs: TYPING_MS } : {});
  }

  typing(address: string): Store<readonly string[]> {
    return this.link.store({ topic: ["typing", address], initial: NOBODY, reduce: parsed });
  }

  kick(user: string, forMs: number): void {
    this.link.send({ type: "kick", space: this.name, user, forMs });
  }

  get #visible(): boolean {
    return [...this.#stays].some(({ visible }) => visible);
  }

  #say(): void {
    this.link.send({ type: "enter", space: this.name, visible: this.#visible });
  }
}
