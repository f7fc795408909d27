/** Whether a client still takes commands on. */
import { SynclineError } from "../errors.js";
import type { Client, ConnectionStatus } from "../types.js";

/** Ends that a server makes of a connection: what is done on the device is kept there all the same. */
const BY_SERVER: ReadonlySet<string> = new Set([
  "bad_frame", "frame_too_large", "unsupported_version", "out_of_protocol", "replaced", "unauthenticated", "forbidden", "token_expired",
]);

export interface Over {
  readonly code: string;
  readonly message: string;
}

/** Why nothing is taken on any more, until the page is loaded again: the client was closed, or its store or engine failed. */
export function overOf({ phase, code, message }: ConnectionStatus): Over | undefined {
  if (code === undefined || (code !== "closed" && (phase !== "failed" || BY_SERVER.has(code)))) return undefined;
  return { code, message: message ?? (code === "closed" ? "the client is closed" : code) };
}

/**
 * Resolves when nothing is pending and everything open is caught up; rejected once that can't come any more, and then
 * nothing is subscribed to either.
 */
export function whenSynced({ sync, connection }: Client): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = false;
    const stops: (() => void)[] = [];
    const look = () => {
      if (done) return;
      const over = overOf(connection.getSnapshot());
      const { synced, pending } = sync.getSnapshot();
      if (over !== undefined) reject(new SynclineError(over.code, over.message));
      else if (synced && pending === 0) resolve();
      else return;
      done = true;
      for (const stop of stops.splice(0)) stop();
    };
    look();
    if (done) return;
    stops.push(sync.subscribe(look), connection.subscribe(look));
    look();
  });
}
