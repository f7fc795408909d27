/** Clients for tests: closed at the end, and waited for by what they show. */

import { readFile } from "node:fs/promises";

import { afterEach } from "vitest";
import WebSocket from "ws";

import { createClient, type Client, type ClientOptions, type Store } from "../../ts/index.js";
import type { SynclineClient } from "../../ts/client.js";

const open = new Set<Client>();
let compiled: Promise<WebAssembly.Module> | undefined;

export function engine(): Promise<WebAssembly.Module> {
  return (compiled ??= readFile(process.env.SYNCLINE_WASM!).then((bytes) => WebAssembly.compile(bytes)));
}

export function client(url: string, user: string, options: Partial<ClientOptions> = {}): SynclineClient {
  const webSocket = WebSocket as unknown as NonNullable<ClientOptions["webSocket"]>;
  const made = createClient({ url, user, wasm: engine(), webSocket, ...options });
  open.add(made);
  return made as SynclineClient;
}

afterEach(async () => {
  await Promise.all([...open].map((one) => one.close()));
  open.clear();
});

/** Waits until a store shows what is wanted, and answers it. */
export function until<T>(store: Store<T>, wanted: (value: T) => boolean, what = "it"): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      unsubscribe();
      reject(new Error(`${what} did not come; there is ${JSON.stringify(store.getSnapshot())}`));
    }, 30_000);
    const look = () => {
      const value = store.getSnapshot();
      if (!wanted(value)) return;
      clearTimeout(timer);
      queueMicrotask(() => unsubscribe());
      resolve(value);
    };
    const unsubscribe = store.subscribe(look);
    look();
  });
}

/** Waits until something holds that no store tells. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
