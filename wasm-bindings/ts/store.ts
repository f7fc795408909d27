/** What clients look at: a value that is computed when somebody asks, and listeners that are told once for many changes. */

import { report } from "./errors.js";
import type { Topic } from "./host/messages.js";
import type { Link, Watched } from "./link.js";
import type { Store } from "./types.js";

/** How long something stays open after the last one let go of it: navigation closes and opens the same again. */
export const GRACE_MS = 2_000;

interface Notified {
  notify(): void;
}

const due = new Set<Notified>();

/** Tells listeners in the next microtask, once, however often it is asked for before. */
export function schedule(store: Notified): void {
  if (due.size === 0) queueMicrotask(notifyAll);
  due.add(store);
}

function notifyAll(): void {
  const stores = [...due];
  due.clear();
  for (const store of stores) store.notify();
}

export class Listeners<A extends unknown[] = []> {
  readonly #all = new Set<(...args: A) => void>();

  get size(): number {
    return this.#all.size;
  }

  /** Each call stands for itself, also with the same function. */
  add(listener: (...args: A) => void): () => void {
    const entry = (...args: A) => listener(...args);
    this.#all.add(entry);
    return () => void this.#all.delete(entry);
  }

  tell(...args: A): void {
    for (const listener of [...this.#all]) {
      if (!this.#all.has(listener)) continue;
      try {
        listener(...args);
      } catch (error) {
        report(error);
      }
    }
  }
}

export interface TopicOptions<T> {
  readonly topic: Topic;
  readonly initial: T;
  /** Makes the next value of what the host says; the old one if nothing is different. */
  readonly reduce: (old: T, told: unknown) => T;
  /** A document that is to be open as long as somebody looks. */
  readonly document?: string | undefined;
  readonly wants?: number | undefined;
}

/** A topic of the host. It is watched while somebody subscribes or holds it, and a moment longer. */
export class TopicStore<T> implements Store<T>, Watched {
  readonly #link: Link;
  readonly #options: TopicOptions<T>;
  readonly #listeners = new Listeners();
  #value: T;
  #dirty = false;
  #changed = false;
  #holds = 0;
  #watched = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(link: Link, options: TopicOptions<T>) {
    this.#link = link;
    this.#options = options;
    this.#value = options.initial;
  }

  get topic(): Topic {
    return this.#options.topic;
  }

  get wants(): number | undefined {
    return this.#options.wants;
  }

  readonly getSnapshot = (): T => {
    this.#pull();
    return this.#value;
  };

  readonly getServerSnapshot = (): T => this.#options.initial;

  readonly subscribe = (listener: () => void): (() => void) => {
    const remove = this.#listeners.add(listener);
    const release = this.hold();
    return () => {
      remove();
      release();
    };
  };

  /** Keeps it up to date until the answer is called. */
  hold(): () => void {
    this.#holds++;
    this.#watch();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds--;
      if (this.#holds === 0) this.#later();
    };
  }

  /** The host may show something else. */
  dirty(): void {
    this.#dirty = true;
    schedule(this);
  }

  /** The host shows this. */
  told(value: unknown): void {
    const next = this.#options.reduce(this.#value, value);
    if (Object.is(next, this.#value)) return;
    this.#value = next;
    this.#changed = true;
    schedule(this);
  }

  notify(): void {
    this.#pull();
    if (!this.#changed) return;
    this.#changed = false;
    this.#listeners.tell();
  }

  /** Lets go at once. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#watched) return;
    this.#watched = false;
    this.#link.unwatch(this);
    if (this.#options.document !== undefined) this.#link.close(this.#options.document);
  }

  #pull(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    const value = this.#link.read(this.topic);
    if (value !== undefined) this.told(value);
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#watched) return;
    this.#watched = true;
    if (this.#options.document !== undefined) this.#link.open(this.#options.document);
    this.#link.watch(this);
  }

  #later(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.drop(), GRACE_MS);
    unref(this.#timer);
  }
}

/**
 * Waits until a store shows what `is` answers `true` to; rejected with what that throws, or when there will be no host
 * any more.
 */
export function reached<T>(link: Link, store: Store<T>, is: (value: T) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let over = false;
    const look = () => {
      if (over) return;
      try {
        if (is(store.getSnapshot())) resolve();
        else if (link.over) throw link.over;
        else return;
      } catch (error) {
        reject(error);
      }
      over = true;
      for (const release of releases) release();
    };
    const releases = [
      store.subscribe(look),
      link.handle(({ type }) => {
        if (type === "ended") look();
      }),
    ];
    look();
  });
}

/** A timer that must not keep a process of Node alive. */
export function unref(timer: ReturnType<typeof setTimeout> | ReturnType<typeof setInterval>): void {
  (timer as { unref?: () => void }).unref?.();
}
