/**
 * Waiting for a document by throwing. A component that throws loses its state and subscribes to nothing, so that
 * something else has to keep the document open meanwhile: a hold, which ends when the component is there, or a
 * while after nobody came for it.
 */
import type { Client, DocumentHandle } from "../types.js";

/** How long a hold outlasts `ready` if nobody comes: React may give up a tree that it began. */
const HOLD_MS = 10_000;

interface Hold {
  readonly promise: Promise<void>;
  failed?: { readonly error: unknown };
  release(): void;
}

const holds = new WeakMap<Client, Map<string, Hold>>();

/** Throws until the document is read; a rejection of `ready` is thrown as an error, for an error boundary. */
export function suspendUntilReady(client: Client, handle: DocumentHandle<unknown>): void {
  // A server has nothing to wait for: what it renders is the server's snapshot.
  if (typeof window === "undefined" || handle.status.getSnapshot().ready) return;
  const hold = held(client, handle);
  if (hold.failed !== undefined) throw hold.failed.error;
  throw hold.promise;
}

/** Ends a hold: whoever waited is there and subscribes for itself. */
export function arrived(client: Client, address: string): void {
  holds.get(client)?.get(address)?.release();
}

/** How many documents are kept open for somebody who waits. */
export function heldOpen(client: Client): number {
  return holds.get(client)?.size ?? 0;
}

function held(client: Client, handle: DocumentHandle<unknown>): Hold {
  const all = holds.get(client) ?? new Map<string, Hold>();
  holds.set(client, all);
  const known = all.get(handle.address);
  if (known !== undefined) return known;

  const unsubscribe = handle.subscribe(() => {});
  let timer: ReturnType<typeof setTimeout> | undefined;
  const release = () => {
    clearTimeout(timer);
    if (all.get(handle.address) === hold) all.delete(handle.address);
    unsubscribe();
  };
  const expire = () => { if (all.get(handle.address) === hold) timer = setTimeout(release, HOLD_MS); };
  const hold: Hold = {
    promise: handle.ready.then(expire, (error: unknown) => {
      hold.failed = { error };
      expire();
    }),
    release,
  };
  all.set(handle.address, hold);
  return hold;
}
