/**
 * Clients that components make. React may draw a component and never show it, draw it twice, and let go of it to take it
 * up again at once, as strict mode does; a client begins when it is made and is over when it is closed. So what is drawn
 * twice gets the same client, and closing waits a moment for somebody who takes it up again.
 */
import { createClient } from "../index.js";
import type { Client, ClientOptions } from "../types.js";

/** How long a client outlasts its last use: until what runs at once has run. */
const CLOSE_AFTER_MS = 0;
/** How long one that was drawn waits to be shown. */
const UNUSED_MS = 10_000;

export interface Owned {
  readonly client: Client;
  /** Whether it was closed. */
  readonly over: boolean;
  /** Keeps it until the answer is called. */
  use(): () => void;
}

/** Drawn and not shown yet, by what their clients are made of. */
const waiting = new Map<string, Owned>();

/** The client of a component that is drawn with these options. */
export function drawn(options: ClientOptions): Owned {
  // A server draws for many, shows nothing, and begins nothing either.
  if (typeof window === "undefined") return owned(options, () => {});
  const { url, user, name } = options;
  const key = JSON.stringify([url, user, name]);
  let one = waiting.get(key);
  if (one === undefined) {
    const fresh = owned(options, () => { if (waiting.get(key) === fresh) waiting.delete(key); });
    waiting.set(key, (one = fresh));
    // Closed unless somebody comes.
    fresh.expect(UNUSED_MS);
  }
  return one;
}

function owned(options: ClientOptions, taken: () => void): Owned & { expect(ms: number): void } {
  const client = createClient(options);
  let uses = 0;
  let over = false;
  let closing: ReturnType<typeof setTimeout> | undefined;
  const expect = (ms: number) => {
    closing = setTimeout(() => {
      over = true;
      taken();
      void client.close();
    }, ms);
  };
  return {
    client,
    get over() { return over; },
    expect,
    use() {
      uses += 1;
      clearTimeout(closing);
      taken();
      return () => {
        uses -= 1;
        if (uses === 0) expect(CLOSE_AFTER_MS);
      };
    },
  };
}
