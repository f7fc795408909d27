/** Components in a page, around a real client of a real server. */

import { cleanup, configure, render, type RenderResult } from "@testing-library/react";
import { StrictMode, type ReactNode } from "react";
import { afterAll, afterEach, beforeAll } from "vitest";

import type { SynclineClient } from "../../ts/client.js";
import { SynclineProvider } from "../../ts/react/index.js";
import { client } from "../support/clients.js";
import { Server } from "../support/server.js";

// What must be is waited for, on a machine that others use too.
configure({ asyncUtilTimeout: 30_000 });

let server: Server;
let spaces = 0;

/** Call at the top of a file: one server for all its tests, and nothing left in the page after each. */
export function useServer(...flags: string[]): void {
  beforeAll(async () => { server = await Server.start(...flags); });
  afterEach(cleanup);
  afterAll(() => server.stop());
}

export function theServer(): Server {
  return server;
}

/** A client that stores in memory and shares with nobody. */
export function person(user: string): SynclineClient {
  return client(server.url, user, { storage: "memory", shareTabs: false });
}

/** A space that no other test uses. */
export function newSpace(): string {
  spaces += 1;
  return `space${spaces}`;
}

/** Shows something to a user, as strictly as React can. */
export function show(of: SynclineClient, children: ReactNode): RenderResult {
  // Outermost: React runs effects twice only where what it puts in place is within strict mode.
  return render(<StrictMode><SynclineProvider client={of}>{children}</SynclineProvider></StrictMode>);
}

/** A hook in a component: what it answered last, and how often the component was drawn. */
export function use<T>(of: SynclineClient, hook: () => T) {
  const seen = { current: undefined as T, drawn: 0 };
  function Component() {
    seen.current = hook();
    seen.drawn += 1;
    return null;
  }
  const page = show(of, <Component />);
  return Object.assign(seen, { unmount: page.unmount });
}
