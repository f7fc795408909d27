/** Web Locks where the platform has none (Node before 24): exclusive locks of one process, in the order asked. */

type Granted = (lock: Lock | null) => unknown;

interface Waiting {
  readonly grant: () => void;
}

export class ProcessLocks {
  readonly #held = new Set<string>();
  readonly #waiting = new Map<string, Waiting[]>();

  request(name: string, options: LockOptions | Granted, callback?: Granted): Promise<unknown> {
    const granted = typeof options === "function" ? options : callback!;
    const { ifAvailable = false, signal } = typeof options === "function" ? {} as LockOptions : options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      if (this.#held.has(name) && ifAvailable) return resolve(granted(null));
      const waiting: Waiting = {
        grant: () => {
          signal?.removeEventListener("abort", giveUp);
          this.#held.add(name);
          // As the platform does, in a task of its own.
          const held = Promise.resolve().then(() => granted({ name, mode: "exclusive" }));
          held.then(resolve, reject).finally(() => this.release(name));
        },
      };
      const giveUp = () => {
        const queue = this.#waiting.get(name) ?? [];
        const at = queue.indexOf(waiting);
        if (at >= 0) queue.splice(at, 1);
        reject(signal!.reason as Error);
      };
      signal?.addEventListener("abort", giveUp);
      if (!this.#held.has(name)) return waiting.grant();
      this.#waiting.set(name, [...this.#waiting.get(name) ?? [], waiting]);
    });
  }

  /** Takes a lock away, as a browser does when a tab crashes. */
  release(name: string): void {
    if (!this.#held.delete(name)) return;
    this.#waiting.get(name)?.shift()?.grant();
  }

  get held(): readonly string[] {
    return [...this.#held];
  }
}

/** Gives this process what a browser has. */
export function install(): ProcessLocks {
  const locks = new ProcessLocks();
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true, writable: true });
  return locks;
}
