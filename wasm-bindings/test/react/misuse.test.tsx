// @vitest-environment jsdom
/** Hooks as they are easily used wrongly: what must hold all the same. */

import { act, waitFor } from "@testing-library/react";
import { useEffect } from "react";
import { describe, expect, test, vi } from "vitest";

import {
  useBackgroundSync, useComments, useConnectionStatus, useCursors, useDocument, useLikes, useOptimisticUpdate, usePost, usePresence,
  useRealtimeUpdates, useRefused, useStreamingResponse, useTypingIndicators, useUndo, useWebSocket,
} from "../../ts/react/index.js";
import { whenSynced } from "../../ts/react/over.js";
import type { Client, ConnectionStatus } from "../../ts/types.js";
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
  // Strict mode runs an effect twice as the component appears, and never later.
  expect(runs).toBe(2);
});

describe("an address", () => {
  test("may name its facet or leave it out where it is clear what is meant", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const space = newSpace();
    const at = `${space}/one`;
    const hooks = use(ada, () => ({
      posts: [usePost(at), usePost(`${at}/post`)], likes: [useLikes(at), useLikes(`${at}/post`), useLikes(`${at}/likes`)],
      comments: [useComments(at), useComments(`${at}/post`), useComments(`${at}/comments`)],
      json: [useDocument(at), useDocument(`${at}/json`)], typing: useTypingIndicators(at),
    }));
    const { posts, likes, comments, json } = hooks.current;
    for (const all of [posts, likes, comments, json]) expect(new Set(all.map(({ handle }) => handle as unknown)).size).toBe(1);
    bob.space(space).enter();
    await until(bob.space(space), ({ phase }) => phase === "inside");
    bob.space(space).setTyping(`${at}/comments`, true);
    await waitFor(() => expect(hooks.current.typing.typing).toEqual(["bob"]));
  });

  test("that can’t be meant is an error that names what is", () => {
    const ada = person("ada");
    const wrong: [() => unknown, string][] = [
      [() => usePost("town/x/likes"), '"town/hello"'], [() => useComments("town/x/likes"), '"town/hello"'],
      [() => useDocument("town/x/post"), '"town/hello"'], [() => useTypingIndicators("town"), '"town/hello/comments"'],
      [() => useRealtimeUpdates("town/x"), '"town/hello/comments"'], [() => useBackgroundSync(["town/x"]), '"town/hello/post"'],
      [() => useBackgroundSync(["town/x/nothing"]), '"town/hello/post"'],
    ];
    const silent = vi.spyOn(console, "error").mockImplementation(() => {});
    for (const [hook, example] of wrong) {
      expect(() => use(ada, hook)).toThrow(expect.objectContaining({ name: "SynclineError", code: "bad_address", message: expect.stringContaining(example) }));
    }
    silent.mockRestore();
  });
});

describe("waiting until all is in sync", () => {
  test("is for a command that was just made, too", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    const background = use(ada, () => useBackgroundSync([`${at}/comments`]));
    await waitFor(() => expect(background.current.synced).toBe(true));
    const ends: string[] = [];
    await act(async () => {
      ada.disconnect();
      await until(ada.connection, ({ phase }) => phase === "idle");
      const command = ada.comments(at).add("First");
      command.then(() => ends.push("command"));
      await command.stored;
      await until(ada.sync, ({ pending }) => pending === 1);
      ada.connect();
      await background.current.whenSynced();
      ends.push("synced");
    });
    expect(ends).toEqual(["command", "synced"]);
  });

  test("ends with the client, and leaves nothing behind", async () => {
    const ada = person("ada");
    let status: ConnectionStatus = { phase: "idle", leads: false };
    const listeners = new Set<() => void>();
    const connection = store(() => status, listeners);
    const heard = new Set<() => void>();
    const sync = store(() => ({ ...ada.sync.getSnapshot(), synced: false }), heard);
    const waiting = whenSynced({ sync, connection } as unknown as Client);
    expect([listeners.size, heard.size]).toEqual([1, 1]);
    status = { phase: "idle", code: "closed", leads: false };
    for (const told of [...listeners]) told();
    await expect(waiting).rejects.toMatchObject({ name: "SynclineError", code: "closed" });
    expect([listeners.size, heard.size]).toEqual([0, 0]);
    await expect(whenSynced({ sync, connection } as unknown as Client)).rejects.toMatchObject({ code: "closed" });
  });

  function store<T>(read: () => T, listeners: Set<() => void>) {
    return {
      getSnapshot: read, getServerSnapshot: read,
      subscribe(listener: () => void) {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
  }
});
