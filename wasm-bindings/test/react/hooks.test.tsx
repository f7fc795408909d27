// @vitest-environment jsdom
/** The hooks, each with real clients in contact with a real server. */

import { act, render, screen, waitFor } from "@testing-library/react";
import { Component, StrictMode, Suspense, type ReactNode } from "react";
import { describe, expect, test } from "vitest";

import {
  SynclineProvider, useBackgroundSync, useComments, useConnectionStatus, useCursors, useDocument, useFeed, useLikes,
  useOptimisticUpdate, usePost, usePresence, useRealtimeUpdates, useRefused, useSelected, useSessionParticipants,
  useStreamingResponse, useSyncStatus, useTypingIndicators, useUndo, useWebSocket, type AppMessage, type RealtimeUpdate,
} from "../../ts/react/index.js";
import { heldOpen } from "../../ts/react/suspense.js";
import { until } from "../support/clients.js";
import { newSpace, person, show, theServer, use, useServer } from "./support.js";

useServer("--owners", "ada");

describe("documents", () => {
  test("a post, likes, comments and a schemaless document show what others do", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const at = `${newSpace()}/one`;
    const post = use(ada, () => usePost(at));
    const likes = use(ada, () => useLikes(at));
    const comments = use(ada, () => useComments(at));
    const json = use(ada, () => useDocument<{ n?: number }>(at));
    expect(post.current.view.author).toBeNull();
    await waitFor(() => expect(post.current.status.live && json.current.status.live).toBe(true));
    act(() => void post.current.handle.create({ title: "Hello", body: "World" }));
    expect(post.current.handle.getSnapshot().title, "shown at once").toBe("Hello");
    await waitFor(() => expect(post.current.view.title).toBe("Hello"));
    await until(bob.post(at), ({ title }) => title === "Hello");
    await Promise.all([bob.likes(at).toggle(), bob.comments(at).add("Hi"), bob.document(at).put(["n"], 3)]);
    await waitFor(() => {
      expect(likes.current.view.targets["post"]?.["like"]).toEqual({ count: 1, mine: false });
      expect(comments.current.view.thread.map(({ body }) => body)).toEqual(["Hi"]);
      expect(json.current.view).toEqual({ n: 3 });
    });
  });

  test("undo and redo say how many steps there are", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    const post = use(ada, () => usePost(at));
    const undo = use(ada, () => useUndo(ada.post(at)));
    await waitFor(() => expect(post.current.status.live).toBe(true));
    act(() => void post.current.handle.create({ title: "A" }));
    act(() => void post.current.handle.addTag("x"));
    await waitFor(() => expect(undo.current.undoable).toBeGreaterThan(0));
    act(() => void undo.current.undo());
    await waitFor(() => expect([post.current.view.tags, undo.current.redoable]).toEqual([[], 1]));
  });

  test("a component draws again only for the part that it selects", async () => {
    const ada = person("ada");
    const post = ada.post(`${newSpace()}/one`);
    const title = use(ada, () => useSelected(post, ({ title }) => title));
    await until(post.status, ({ live }) => live);
    await act(() => post.create({ title: "A" }));
    const { drawn } = title;
    await act(() => post.addTag("x"));
    expect([title.current, title.drawn]).toEqual(["A", drawn]);
  });

  test("with suspense a component appears when its document is read, and nothing is held after", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    const Title = () => <p>{`title: ${usePost(at, { suspense: true }).status.ready}`}</p>;
    const page = show(ada, <Suspense fallback={<p>waiting</p>}><Title /></Suspense>);
    expect(screen.getByText("waiting")).toBeTruthy();
    expect(await screen.findByText("title: true")).toBeTruthy();
    expect(heldOpen(ada)).toBe(0);
    page.unmount();
    await nothingLeft(ada);
  });

  test("with suspense a document that can’t be opened reaches the error boundary", async () => {
    const ada = person("ada");
    const Title = () => <p>{usePost("not an address", { suspense: true }).view.title}</p>;
    class Boundary extends Component<{ children: ReactNode }, { said?: string }> {
      override state: { said?: string } = {};
      static getDerivedStateFromError = (error: { code?: string }) => ({ said: `failed: ${error.code}` });
      override render() { return this.state.said ?? this.props.children; }
    }
    const silent = console.error;
    console.error = () => {};
    try {
      show(ada, <Boundary><Suspense fallback="waiting"><Title /></Suspense></Boundary>);
      expect(await screen.findByText("failed: bad_address")).toBeTruthy();
    } finally {
      console.error = silent;
    }
  });
});

describe("connection and sync", () => {
  test("the connection tells its phase, counts down, and can be tried again", async () => {
    const ada = person("ada");
    const connection = use(ada, () => useConnectionStatus());
    await waitFor(() => expect(connection.current.connected).toBe(true));
    await theServer().kill();
    await waitFor(() => expect(connection.current.phase).toBe("reconnecting"));
    await waitFor(() => expect(connection.current.retryIn).toBeGreaterThanOrEqual(0));
    expect(connection.current.trying).toBe(true);
    await theServer().begin();
    act(() => connection.current.reconnect());
    await waitFor(() => expect(connection.current.connected).toBe(true));
    expect(connection.current.retryIn).toBeUndefined();
    act(() => connection.current.disconnect());
    await waitFor(() => expect(connection.current.connected).toBe(false));
  });

  test("pending commands are counted and documents kept open in the background", async () => {
    const ada = person("ada");
    const at = `${newSpace()}/one`;
    const sync = use(ada, () => useSyncStatus());
    const background = use(ada, () => useBackgroundSync([`${at}/post`, `${at}/likes`], { confirmLeave: true }));
    await waitFor(() => expect(background.current.kept).toEqual({ total: 2, ready: 2, live: 2 }));
    const leave = () => window.dispatchEvent(new Event("beforeunload", { cancelable: true }));
    act(() => ada.disconnect());
    await waitFor(() => expect(sync.current.offline).toBe(true));
    act(() => void ada.post(at).create({ title: "A" }));
    await waitFor(() => expect(sync.current.pending).toBe(1));
    expect(leave(), "the browser is to ask").toBe(false);
    const synced = background.current.whenSynced();
    act(() => background.current.syncNow());
    await act(() => synced);
    await waitFor(() => expect([sync.current.pending, leave()]).toEqual([0, true]));
    expect(sync.current.lastDurableAt).toBeGreaterThan(0);
  });

  test("a command goes from pending to confirmed, or is rolled back with its reason until it is dismissed", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const at = `${newSpace()}/one`;
    await until(ada.comments(at).status, ({ live }) => live);
    const tag = use(ada, () => useOptimisticUpdate((body: string) => ada.comments(at).add(body)));
    expect(tag.current.phase).toBe("idle");
    act(() => tag.current.run("Mine"));
    expect(tag.current.phase).toBe("pending");
    await waitFor(() => expect(tag.current.phase).toBe("confirmed"));

    const [comment] = (await until(bob.comments(at), ({ count }) => count === 1)).thread;
    const edit = use(bob, () => useOptimisticUpdate((body: string) => bob.comments(at).edit(comment!.id, body)));
    act(() => edit.current.run("Stolen"));
    await waitFor(() => expect(edit.current.phase).toBe("rolled_back"));
    expect(edit.current.code).toBe("not_author");
    expect(edit.current.message).toBeTruthy();
    act(() => edit.current.retry());
    await waitFor(() => expect([edit.current.phase, edit.current.code]).toEqual(["rolled_back", "not_author"]));
    act(() => edit.current.dismiss());
    expect(edit.current.phase).toBe("idle");
  });
});

test("updates are told as they happen, and nothing of what was there before", async () => {
  const [ada, bob] = [person("ada"), person("bob")];
  const at = `${newSpace()}/one`;
  await until(ada.comments(at).status, ({ live }) => live);
  await ada.comments(at).add("before");
  const told: RealtimeUpdate[] = [];
  const updates = use(bob, () => useRealtimeUpdates(`${at}/comments`, (update) => told.push(update)));
  await until(bob.comments(at).status, ({ live }) => live);
  await act(() => ada.comments(at).add("after"));
  await waitFor(() => expect(told.map(({ change }) => change)).toMatchObject([{ type: "comment_added", comment: { body: "after" } }]));
  expect(updates.current.updates).toEqual(told);
  act(() => updates.current.clear());
  expect(updates.current.updates).toEqual([]);
});

describe("presence", () => {
  test("people are seen, type, say things and leave", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const space = newSpace();
    const at = `${space}/one/comments`;
    const here = use(ada, () => useSessionParticipants(space));
    const typing = use(ada, () => useTypingIndicators(at));
    const socket = use(ada, () => useWebSocket(space));
    const other = use(bob, () => usePresence(space));
    const others = use(bob, () => useTypingIndicators(at));
    await waitFor(() => expect(here.current.participants.map(({ user, isSelf }) => [user, isSelf])).toEqual([["ada", true], ["bob", false]]));
    await waitFor(() => expect(other.current.others.map(({ user }) => user)).toEqual(["ada"]));
    act(() => others.current.setTyping(true));
    await waitFor(() => expect(typing.current.typing).toEqual(["bob"]));
    expect(here.current.participants[1]?.typingIn).toBe(at);
    act(() => others.current.inputProps.onBlur());
    await waitFor(() => expect(typing.current.typing).toEqual([]));

    const heard: AppMessage[] = [];
    const stop = socket.current.subscribe("x-wave", (message) => heard.push(message));
    act(() => other.current.announce("x-wave", { n: 1 }));
    await waitFor(() => expect(heard).toEqual([{ user: "bob", key: "x-wave", value: { n: 1 } }]));
    other.unmount();
    others.unmount();
    await waitFor(() => expect(heard.at(-1)).toEqual({ user: "bob", key: "x-wave", value: undefined }));
    await waitFor(() => expect(here.current.participants.map(({ user }) => user)).toEqual(["ada"]));
    stop();
  });

  test("carets of others are where they are in the text", async () => {
    const [ada, bob] = [person("ada"), person("bob")];
    const at = `${newSpace()}/one`;
    await until(ada.post(at).status, ({ live }) => live);
    await ada.post(at).create({ title: "A", body: "hello" });
    const mine = use(ada, () => useCursors({ address: at, field: "body" }));
    const theirs = use(bob, () => ({ post: usePost(at), cursors: useCursors({ address: at, field: "body" }) }));
    await waitFor(() => expect(theirs.current.post.view.body).toBe("hello"));
    await until(bob.space(at.split("/")[0]!), ({ phase }) => phase === "inside");
    act(() => theirs.current.cursors.select({ anchor: 1, head: 3 }));
    await waitFor(() => expect(mine.current.selections).toMatchObject([{ user: "bob", anchor: 1, head: 3 }]));
    theirs.unmount();
    await waitFor(() => expect(mine.current.selections).toEqual([]));
  });
});

test("a stream is followed, interrupted and ended", async () => {
  const [ada, bob] = [person("ada"), person("bob")];
  const at = `${newSpace()}/answer`;
  const writer = await bob.createStream(at, { askedBy: "ada" });
  const stream = use(ada, () => useStreamingResponse(at));
  await writer.append("One ");
  await waitFor(() => expect([stream.current.content, stream.current.isStreaming]).toEqual(["One ", true]));
  await act(() => stream.current.interrupt());
  expect(await writer.interrupted).toBe("ada");
  await writer.append("two");
  await writer.finish();
  await waitFor(() => expect([stream.current.content, stream.current.phase, stream.current.isStreaming]).toEqual(["One two", "ended", false]));
});

test("a feed lists posts", async () => {
  const ada = person("ada");
  const space = newSpace();
  const feed = use(ada, () => useFeed(space, { newest: 10 }));
  await until(ada.post(`${space}/one`).status, ({ live }) => live);
  await ada.post(`${space}/one`).create({ title: "Listed" });
  await waitFor(() => expect(feed.current.posts.map(({ title }) => title)).toEqual(["Listed"]));
});

test("when all is gone nothing is subscribed to any more", async () => {
  const ada = person("ada");
  const space = newSpace();
  const at = `${space}/one`;
  const before = await settled(ada);
  const All = () => {
    usePost(at); useLikes(at); useComments(at); useDocument(at); useConnectionStatus(); useSyncStatus(); useFeed(space);
    useRealtimeUpdates(space); useRealtimeUpdates(`${at}/post`); useBackgroundSync([`${at}/json`]); useWebSocket(space);
    useSessionParticipants(space); useTypingIndicators(`${at}/post`); useCursors({ address: at, field: "title" });
    useCursors({ address: at, path: ["notes"] }); useStreamingResponse(at); useRefused();
    return null;
  };
  const page = render(<StrictMode><SynclineProvider client={ada}><All /></SynclineProvider></StrictMode>);
  await until(ada.post(at).status, ({ live }) => live);
  expect(ada.counts.topics).toBeGreaterThan(before.topics);
  page.unmount();
  await waitFor(() => expect(ada.counts).toEqual(before));
});

async function settled(client: ReturnType<typeof person>) {
  await until(client.connection, ({ phase }) => phase === "connected");
  return client.counts;
}

async function nothingLeft(client: ReturnType<typeof person>) {
  await waitFor(() => expect(client.counts.documents).toBe(0));
}
