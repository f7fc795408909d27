/** A store that is gone with the process. */

import type { Storage } from "../types.js";

export class MemoryStorage implements Storage {
  readonly #entries = new Map<string, [Uint8Array, Uint8Array]>();

  async read(prefix: Uint8Array): Promise<[Uint8Array, Uint8Array][]> {
    const start = nameOf(prefix);
    const found = [...this.#entries].filter(([name]) => name.startsWith(start));
    found.sort(([a], [b]) => (a < b ? -1 : 1));
    return found.map(([, entry]) => entry);
  }

  async write(entries: readonly (readonly [Uint8Array, Uint8Array | null])[]): Promise<void> {
    for (const [key, value] of entries) {
      if (value === null) this.#entries.delete(nameOf(key));
      else this.#entries.set(nameOf(key), [key, value]);
    }
  }

  async close(): Promise<void> {}
}

/** One character for each byte, so that names sort as the bytes do. */
function nameOf(bytes: Uint8Array): string {
  let name = "";
  for (const byte of bytes) name += String.fromCharCode(byte);
  return name;
}
