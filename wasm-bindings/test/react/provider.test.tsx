// @vitest-environment jsdom
/** A provider with a client of its own, in strict mode. */

import { act, render, screen, waitFor } from "@testing-library/react";
import { StrictMode, useEffect } from "react";
import { expect, test, vi } from "vitest";
import WebSocket from "ws";

import { SynclineClient } from "../../ts/client.js";
import type { Client, ClientOptions } from "../../ts/index.js";
import { SynclineProvider, useClient, useConnectionStatus } from "../../ts/react/index.js";
import { engine } from "../support/clients.js";
import { theServer, useServer } from "./support.js";

useServer();

const options = (user: string): ClientOptions => ({
  url: theServer().url, user, wasm: engine(), webSocket: WebSocket as unknown as NonNullable<ClientOptions["webSocket"]>,
  storage: "memory", shareTabs: false,
});

test("makes one client, keeps it through strict mode, makes another for another user, and closes each once", async () => {
  const used = new Set<Client>();
  let effects = 0;
  const close = vi.spyOn(SynclineClient.prototype, "close");
  const Shows = () => {
    const client = useClient();
    used.add(client);
    useEffect(() => { effects += 1; }, []);
    return <p>{`${client.user} ${useConnectionStatus().phase}`}</p>;
  };
  const of = (user: string) => <StrictMode><SynclineProvider options={options(user)}><Shows /></SynclineProvider></StrictMode>;
  const page = render(of("ada"));
  await screen.findByText("ada connected");
  page.rerender(of("ada"));
  expect(effects, "strict mode lets go of a component and takes it up again").toBe(2);
  expect([used.size, close.mock.calls.length]).toEqual([1, 0]);
  page.rerender(of("bob"));
  await screen.findByText("bob connected");
  const [ada, bob] = [...used];
  await waitFor(() => expect(close.mock.contexts).toEqual([ada]));
  act(() => page.unmount());
  await waitFor(() => expect(close.mock.contexts).toEqual([ada, bob]));
  expect(used.size).toBe(2);
  close.mockRestore();
});
