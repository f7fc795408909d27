// @vitest-environment jsdom
/** Hooks as they are easily used wrongly: what must hold all the same. */

import { act, waitFor } from "@testing-library/react";
import { useEffect } from "react";
import { expect, test } from "vitest";

import {
  useBackgroundSync, useComments, useConnectionStatus, useCursors, useOptimisticUpdate, usePresence,
  useRealtimeUpdates, useRefused, useStreamingResponse, useTypingIndicators, useUndo, useWebSocket,
} from "../../ts/react/index.js";
import { until } from "../support/clients.js";
import { newSpace, person, use, useServer } from "./support.js";

useServer();

test("functions that hooks answer stay the same while what they show changes", async () => {
  const ada = person("ada");
  const space = newSpace();
  const at = `${space}/one`;
  const hooks = use(ada, () => ({
    update: useOptimisticUpdate((body: string) => ada.comments(at).add(body)), undo: useUndo(ada.comments(at)),
    comments: useComments(at), connection: useConnectionStatus(), refused: useRefused(), background: useBackgroundSync([`${at}/comments`]),
    realtime: useRealtimeUpdates(`${at}/comments`), presence: usePresence(space), typing: useTypingIndicators(`${at}/comments`),
    cursors: useCursors({ address: at, path: ["notes"] }), stream: useStreamingResponse(at), socket: useWebSocket(space),
  }));
  const functions = () => Object.entries(hooks.current).flatMap(([hook, answered]) => (
    Object.entries(answered).flatMap(([name, one]: [string, unknown]) => (typeof one === "function" ? [[`${hook}.${name}`, one] as const] : []))
  ));
  await until(ada.comments(at).status, ({ live }) => live);
  const before = functions();
  act(() => hooks.current.update.run("First"));
  await waitFor(() => expect([hooks.current.update.phase, hooks.current.undo.undoable]).toEqual(["confirmed", 1]));
  act(() => ada.disconnect());
  await until(ada.connection, ({ phase }) => phase === "idle");
  const after = new Map(functions());
  expect(before.filter(([name, one]) => after.get(name) !== one).map(([name]) => name)).toEqual([]);
  expect(before.length).toBeGreaterThan(20);
});

test("a command that an effect runs is run once for each time that the component appears", async () => {
  const ada = person("ada");
  const at = `${newSpace()}/one`;
  await until(ada.comments(at).status, ({ live }) => live);
  let runs = 0;
  const update = use(ada, () => {
    const used = useOptimisticUpdate(() => ada.comments(at).add(`${runs += 1}`));
    const { run } = used;
    useEffect(() => run(), [run]);
    return used;
  });
  await waitFor(() => expect(update.current.phase).toBe("confirmed"));
  // Strict mode may run an effect twice as the component appears, and never later.
  expect(runs).toBeLessThanOrEqual(2);
});
