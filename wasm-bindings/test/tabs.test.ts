/** Several tabs of one name: clients of one process, with its channels, and locks in place of the browser's. */

import { IDBFactory, IDBKeyRange as FakeRange } from "fake-indexeddb";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { client, eventually, until } from "./support/clients.js";
import { install, type ProcessLocks } from "./support/locks.js";
import { Server } from "./support/server.js";

let server: Server;
let locks: ProcessLocks;
let count = 0;
let post: string;

beforeAll(async () => { server = await Server.start(); });
afterAll(() => server.stop());
beforeEach(() => {
  post = `town/tabs${++count}`;
  locks = install();
  globalThis.indexedDB = new IDBFactory();
  globalThis.IDBKeyRange = FakeRange;
});

const tab = (options = {}) => client(server.url, "ada", { name: post, ...options });

test("tabs share one connection, and a follower can do all that the leader can", async () => {
  const leader = tab();
  await until(leader.connection, ({ phase, leads }) => phase === "connected" && leads);
  const follower = tab();
  await follower.ready;
  await until(follower.connection, ({ phase, leads }) => phase === "connected" && !leads);
  expect(leader.connection.getSnapshot().leads).toBe(true);
  expect(await follower.comments(post).add("from the follower")).toEqual({ type: "confirmed" });
  await until(leader.comments(post), ({ count }) => count === 1);
  await leader.comments(post).add("from the leader");
  const { thread } = await until(follower.comments(post), ({ count, thread }) => count === 2 && thread.every(({ pending }) => !pending));
  await follower.comments(post).edit(thread[0]!.id, "edited");
  const after = await until(follower.comments(post), ({ thread }) => thread[0]?.body === "edited");
  expect(after.thread[1]).toBe(thread[1]);
  await follower.likes(post).toggle();
  await until(leader.likes(post), ({ targets }) => targets.post?.like?.mine === true);
  await expect(async () => await follower.comments(post).add("")).rejects.toMatchObject({ code: "bad_command" });
  // The genesis of comments is a change as well.
  expect((await follower.history(`${post}/comments`)).length).toBe(4);
  const stranger = client(server.url, "bob", { storage: "memory" });
  const leave = follower.space("town").enter();
  await until(stranger.space("town"), () => true);
  const leaveStranger = stranger.space("town").enter();
  await until(follower.space("town"), ({ members }) => members.length === 2);
  leave();
  leaveStranger();
  const writer = await follower.createStream(post);
  await writer.append("text");
  await until(leader.stream(post), ({ text }) => text === "text");
  await writer.finish();
  await until(leader.stream(post), ({ phase }) => phase === "ended");
});

test("when the leader closes, the next tab leads, and what was pending in either is kept", async () => {
  const leader = tab({ online: false });
  await leader.ready;
  const follower = tab({ online: false });
  await follower.ready;
  const third = tab({ online: false });
  await third.ready;
  const inLeader = leader.comments(post).add("leader's");
  const inFollower = follower.comments(post).add("follower's");
  await Promise.all([inLeader.stored, inFollower.stored]);
  await leader.close();
  await until(follower.connection, ({ leads }) => leads);
  const inThird = third.comments(post).add("third's");
  follower.connect();
  expect(await inFollower).toEqual({ type: "confirmed" });
  expect(await inThird).toEqual({ type: "confirmed" });
  const bob = client(server.url, "bob", { storage: "memory" });
  await until(bob.comments(post), ({ thread }) =>
    thread.map(({ body }) => body).sort().join() === "follower's,leader's,third's");
});

test("a leader that is gone without a word is followed by the next, and every command is there once", async () => {
  const leader = tab();
  await leader.ready;
  const follower = tab();
  await follower.ready;
  const told: string[] = [];
  follower.on("resolved", ({ id }) => told.push(id));
  const leave = follower.space(`room${count}`).enter();
  follower.space(`room${count}`).announce("status", "here");
  const commands = [];
  for (let round = 0; round < 20; round++) {
    commands.push(follower.comments(post).add(`${round}`));
    if (round === 10) {
      // The tab crashes: its work stops, and the browser takes its locks.
      leader.crash();
    }
  }
  expect(await Promise.all(commands)).toEqual(commands.map(() => ({ type: "confirmed" })));
  await until(follower.connection, ({ phase, leads }) => leads && phase === "connected");
  const bob = client(server.url, "bob", { storage: "memory" });
  await until(bob.comments(post), ({ count }) => count >= 20);
  expect(bob.comments(post).getSnapshot().thread.map(({ body }) => Number(body)).sort((a, b) => a - b)).toEqual(commands.map((_, at) => at));
  expect([...told].sort()).toEqual(commands.map(({ id }) => id).sort());
  const leaveBob = bob.space(`room${count}`).enter();
  await until(bob.space(`room${count}`), ({ members }) => members.some(({ user, says }) => user === "ada" && says.status === "here"));
  leave();
  leaveBob();
});

test("the last that went offline or online counts for all tabs, and for whichever leads next", async () => {
  const leader = tab();
  await until(leader.connection, ({ phase, leads }) => phase === "connected" && leads);
  const follower = tab();
  await until(follower.connection, ({ phase }) => phase === "connected");
  leader.disconnect();
  const late = tab();
  await late.ready;
  const pending = follower.comments(post).add("not yet");
  await pending.stored;
  await leader.close();
  await until(follower.connection, ({ leads }) => leads);
  const latest = tab();
  await latest.ready;
  await follower.close();
  await until(late.connection, ({ leads }) => leads);
  await until(late.comments(post), ({ thread }) => thread[0]?.pending === true);
  expect(late.connection.getSnapshot().phase).toBe("idle");
  latest.connect();
  await until(late.connection, ({ phase }) => phase === "connected");
  await late.close();
  await until(latest.connection, ({ phase, leads }) => leads && phase === "connected");
  await until(latest.comments(post), ({ thread }) => thread[0]?.pending === false);
});

test("a follower's editor and the leader's end with the same text, also when the leader goes in between", async () => {
  const leader = tab();
  await leader.post(post).create({ title: "t", body: "|" });
  const follower = tab();
  await until(follower.post(post), ({ body }) => body === "|");
  const [left, right] = [leader.post(post).text("body"), follower.post(post).text("body")];
  await eventually(() => left.text === "|" && right.text === "|", "the text");
  for (const letter of "left") left.splice(left.text.length, 0, letter);
  for (const letter of "right") right.splice(0, 0, letter);
  await eventually(() => left.text === "thgir|left" && right.text === "thgir|left", "the same text");
  right.splice(0, 0, "more ");
  left.splice(left.text.length, 0, " too");
  left.flush();
  await leader.close();
  right.splice(0, 0, "and ");
  await until(follower.connection, ({ leads }) => leads);
  const bob = client(server.url, "bob", { storage: "memory" });
  await until(bob.post(post), ({ body }) => body === "and more thgir|left too");
  expect(right.text).toBe("and more thgir|left too");
  right.close();
});

test("a stream that a follower writes goes on without gap or repetition when the leader goes", async () => {
  const leader = tab();
  await leader.ready;
  const follower = tab();
  await follower.ready;
  const writer = await follower.createStream(post);
  const pieces = Array.from({ length: 40 }, (_, at) => `${at} é😀,`);
  const written = pieces.map((piece, at) => {
    if (at === 15) setTimeout(() => leader.crash(), 0);
    return writer.append(piece);
  });
  await Promise.all(written);
  await until(follower.connection, ({ leads }) => leads);
  await writer.append("end");
  await writer.finish();
  const bob = client(server.url, "bob", { storage: "memory" });
  const { text } = await until(bob.stream(post), ({ phase }) => phase === "ended");
  expect(text).toBe(`${pieces.join("")}end`);
});

test("two toggles in quick succession end where they began, in a tab that follows, too", async () => {
  const leader = tab();
  await leader.ready;
  const follower = tab();
  await follower.ready;
  for (const likes of [follower.likes(post), leader.likes(post)]) {
    const release = likes.subscribe(() => {});
    await until(likes.status, ({ live }) => live);
    await Promise.all([likes.toggle(), likes.toggle()]);
    await until(follower.sync, ({ synced }) => synced);
    expect(likes.getSnapshot().targets.post?.like?.mine ?? false).toBe(false);
    await Promise.all([likes.toggle(), likes.toggle(), likes.toggle()]);
    await until(likes, ({ targets }) => targets.post?.like?.mine === true);
    // What another tab did since counts.
    const other = likes === leader.likes(post) ? follower : leader;
    await other.likes(post).unlike();
    await until(likes, ({ targets }) => !targets.post?.like?.mine);
    await likes.toggle();
    await until(likes, ({ targets }) => targets.post?.like?.mine === true);
    await likes.unlike();
    await until(likes, ({ targets }) => !targets.post?.like?.mine);
    release();
  }
});

test("a command counts as pending before the leading tab has heard of it", async () => {
  const leader = tab();
  await leader.ready;
  const follower = tab();
  await until(follower.sync, ({ synced }) => synced);
  const release = follower.sync.subscribe(() => {});
  const command = follower.comments(post).add("just now");
  expect(follower.sync.getSnapshot()).toMatchObject({ synced: false, pending: 1 });
  await command;
  await until(follower.sync, ({ synced, pending }) => synced && pending === 0);
  const refused = follower.comments(post).add("");
  expect(follower.sync.getSnapshot().synced).toBe(false);
  await expect(async () => await refused).rejects.toMatchObject({ code: "bad_command" });
  await until(follower.sync, ({ synced, pending }) => synced && pending === 0);
  release();
});

test("a page that is put aside gives up leading, and is a tab like others when it is back", async () => {
  const page = new EventTarget();
  Object.defineProperty(globalThis, "window", { value: page, configurable: true, writable: true });
  const first = tab();
  await until(first.connection, ({ phase, leads }) => phase === "connected" && leads);
  Reflect.deleteProperty(globalThis, "window");
  const second = tab();
  await second.ready;
  const text = first.document(post);
  await text.putText(["note"], "");
  const binding = text.text(["note"]);
  binding.splice(0, 0, "kept");
  page.dispatchEvent(new Event("pagehide"));
  await until(second.connection, ({ phase, leads }) => phase === "connected" && leads);
  await second.comments(post).add("while the first was away");
  page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await until(first.comments(post), ({ count }) => count === 1);
  expect(await first.comments(post).add("back")).toEqual({ type: "confirmed" });
  await until(first.connection, ({ phase, leads }) => phase === "connected" && !leads);
  await until(second.document(post), (json) => (json as { note?: string }).note === "kept");
  binding.close();
});

test("a tab that is gone leaves nothing behind at the leader", async () => {
  const leader = tab();
  await until(leader.connection, ({ phase }) => phase === "connected");
  const before = leader.hostCounts;
  const follower = tab();
  await follower.ready;
  const leave = follower.space(`room${count}`).enter();
  follower.comments(post).subscribe(() => {});
  await until(follower.comments(post), () => true);
  await eventually(() => leader.hostCounts!.documents > before!.documents, "the document");
  leave();
  follower.crash();
  await eventually(() => JSON.stringify(leader.hostCounts) === JSON.stringify(before), "nothing left");
  expect(locks.held.length).toBe(2);
});

test("tabs that share nothing have a store and a connection each", async () => {
  const one = tab({ shareTabs: false });
  const two = tab({ shareTabs: false });
  await until(one.connection, ({ phase, leads }) => phase === "connected" && leads);
  await until(two.connection, ({ phase, leads }) => phase === "connected" && leads);
  await one.comments(post).add("one");
  await until(two.comments(post), ({ count }) => count === 1);
});

test("where locks are refused, as a sandboxed page's are, a tab is alone", async () => {
  const refused = Object.assign(new Error("not for this origin"), { name: "SecurityError" });
  for (const request of [() => Promise.reject(refused), () => { throw refused; }]) {
    for (const shareTabs of [undefined, true, false]) {
      Object.defineProperty(globalThis, "navigator", { value: { locks: { request } }, configurable: true, writable: true });
      const ada = tab(shareTabs === undefined ? {} : { shareTabs });
      await until(ada.connection, ({ phase, leads }) => phase === "connected" && leads);
      expect(await ada.comments(post).add("alone")).toEqual({ type: "confirmed" });
      await ada.close();
    }
  }
});

test("where the device's store is forbidden it is kept in memory, unless it was asked for", async () => {
  const forbidden = () => Object.assign(new Error("not for this origin"), { name: "SecurityError" });
  const throwing = { open: () => { throw forbidden(); } };
  const failing = {
    open: () => {
      const request = { error: forbidden(), onerror: () => {} };
      queueMicrotask(() => request.onerror());
      return request;
    },
  };
  for (const get of [() => throwing, () => failing, () => { throw forbidden(); }]) {
    Object.defineProperty(globalThis, "indexedDB", { get, set: () => {}, configurable: true });
    try {
      const ada = tab();
      expect(await ada.comments(post).add("in memory")).toEqual({ type: "confirmed" });
      await ada.close();
      const strict = tab({ storage: "indexeddb" });
      await expect(strict.ready).rejects.toMatchObject({ code: "local_store" });
      await strict.close();
    } finally {
      Object.defineProperty(globalThis, "indexedDB", { value: undefined, configurable: true, writable: true });
    }
  }
});
