/** Clients with the real engine against a real server. */

import { IDBFactory, IDBKeyRange as FakeRange } from "fake-indexeddb";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { client, eventually, until } from "./support/clients.js";
import { Server } from "./support/server.js";

let server: Server;
let count = 0;
/** A post of its own for each test. */
let post: string;

beforeAll(async () => { server = await Server.start(); });
afterAll(() => server.stop());
beforeEach(() => {
  post = `town/post${++count}`;
  globalThis.indexedDB = new IDBFactory();
  globalThis.IDBKeyRange = FakeRange;
});

test("two people see the same, and a command tells how it ended", async () => {
  const [ada, bob] = [client(server.url, "ada", { storage: "memory" }), client(server.url, "bob", { storage: "memory" })];
  await ada.post(post).create({ title: "Hello", body: "World", tags: ["one"] });
  await until(bob.post(post), ({ title, body }) => title === "Hello" && body === "World");
  const resolution = await bob.comments(post).add("Nice");
  expect(resolution).toEqual({ type: "confirmed" });
  await until(ada.comments(post), ({ thread }) => thread[0]?.author === "bob" && !thread[0].pending);
  await Promise.all([ada.likes(post).like(), bob.likes(post).like()]);
  await until(ada.likes(post), ({ targets }) => targets.post?.like?.count === 2 && targets.post.like.mine);
  await bob.document(post).put(["colour"], "red");
  await until(ada.document(post), (json) => (json as { colour?: string }).colour === "red");
  await eventually(
    async () => JSON.stringify(await ada.heads(`${post}/comments`)) === JSON.stringify(await bob.heads(`${post}/comments`)),
    "equal heads",
  );
  expect(await ada.history(`${post}/comments`)).toContainEqual(expect.objectContaining({ pending: false, seq: 1 }));
});

test("a command shows before the call returns, and is pending until it is confirmed", async () => {
  const ada = client(server.url, "ada", { storage: "memory", online: false });
  const comments = ada.comments(post);
  await comments.ready;
  const release = comments.subscribe(() => {});
  const command = comments.add("at once");
  expect(comments.getSnapshot()).toMatchObject({ count: 1, thread: [{ body: "at once", pending: true, author: "ada" }] });
  await command.stored;
  expect(ada.sync.getSnapshot().synced).toBe(false);
  await until(ada.sync, ({ pending }) => pending === 1);
  ada.connect();
  await command;
  await until(comments, ({ thread }) => thread[0]?.pending === false);
  await until(ada.sync, ({ synced, lastDurableAt }) => synced && lastDurableAt !== undefined);
  release();
});

test("what did not change stays the same object", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  const [comments, likes, json] = [ada.comments(post), ada.likes(post), ada.document(post)];
  const releases = [comments, likes, json].map((store) => store.subscribe(() => {}));
  await Promise.all([comments.add("one"), comments.add("two"), likes.like(), json.put(["a"], { deep: [1] }), json.put(["b"], 1)]);
  const before = { comments: comments.getSnapshot(), likes: likes.getSnapshot(), json: json.getSnapshot() as { a: unknown } };
  await comments.edit(before.comments.thread[1]!.id, "zwei");
  await json.put(["b"], 2);
  expect(comments.getSnapshot().thread[0]).toBe(before.comments.thread[0]);
  expect(comments.getSnapshot().thread[1]).not.toBe(before.comments.thread[1]);
  expect((json.getSnapshot() as { a: unknown }).a).toBe(before.json.a);
  await likes.like();
  expect(likes.getSnapshot()).toBe(before.likes);
  releases.forEach((release) => release());
});

test("listeners are told once for many changes, and after a change only", async () => {
  const ada = client(server.url, "ada", { storage: "memory", online: false });
  const comments = ada.comments(post);
  await comments.ready;
  let told = 0;
  const release = comments.subscribe(() => told++);
  await Promise.resolve();
  told = 0;
  const commands = Array.from({ length: 20 }, (_, at) => comments.add(`${at}`));
  await Promise.resolve();
  expect(told).toBe(1);
  expect(comments.getSnapshot().count).toBe(20);
  await Promise.all(commands.map(({ stored }) => stored));
  release();
});

test("who subscribes to a document is told where it stands, too", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  const comments = ada.comments(post);
  expect(comments.status.getSnapshot()).toMatchObject({ ready: false, live: false });
  const release = comments.subscribe(() => {});
  await eventually(() => comments.status.getSnapshot().live, "it is live");
  release();
});

test("what is not acceptable is refused with a code, at once", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  await expect(async () => await ada.comments(post).add("")).rejects.toMatchObject({ name: "SynclineError", code: "bad_command" });
  await expect(async () => await ada.comments(post).edit("01J8ZQ4W5X6Y7Z8A9B0C1D2E3F", "x")).rejects.toMatchObject({ code: "not_found" });
  await expect(async () => await ada.post("no such address").setStatus("hidden")).rejects.toMatchObject({ code: "bad_address" });
  await expect(ada.comments("nor this").ready).rejects.toMatchObject({ code: "bad_address" });
  await expect(async () => await ada.post(post).command({ nonsense: 1 })).rejects.toMatchObject({ code: "bad_command" });
});

test("undo and redo", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  const page = ada.post(post);
  const release = page.undoable.subscribe(() => {});
  await page.create({ title: "a" });
  await page.splice("title", 1, 0, "bc");
  expect(page.undoable.getSnapshot().undo).toBeGreaterThan(0);
  await page.undo();
  expect(page.getSnapshot().title).toBe("a");
  await page.redo();
  expect(page.getSnapshot().title).toBe("abc");
  release();
});

test("offline work is replayed after the server comes back", async () => {
  const own = await Server.start();
  const [ada, bob] = [client(own.url, "ada", { storage: "memory" }), client(own.url, "bob", { storage: "memory" })];
  await ada.comments(post).add("before");
  await until(bob.comments(post), ({ count }) => count === 1);
  await own.kill();
  await until(ada.connection, ({ phase }) => phase === "reconnecting" || phase === "connecting");
  const [one, two] = [ada.comments(post).add("ada, offline"), bob.comments(post).add("bob, offline")];
  await Promise.all([one.stored, two.stored]);
  await own.begin();
  ada.reconnect();
  bob.reconnect();
  expect(await Promise.all([one, two])).toEqual([{ type: "confirmed" }, { type: "confirmed" }]);
  for (const who of [ada, bob]) await until(who.comments(post), (view) => view.count === 3 && view.thread.every(({ pending }) => !pending));
  await Promise.all([ada.close(), bob.close()]);
  await own.stop();
});

test("a page that is loaded again has what it had, and sends what was pending", async () => {
  const first = client(server.url, "ada", { online: false, name: post });
  await first.comments(post).add("kept").stored;
  await first.close();
  const second = client(server.url, "ada", { name: post });
  const ended: string[] = [];
  second.on("resolved", ({ resolution }) => ended.push(resolution.type));
  await until(second.comments(post), ({ thread }) => thread[0]?.body === "kept" && !thread[0].pending);
  await eventually(() => ended.length === 1, "the end");
  await second.close();
  const third = client(server.url, "ada", { name: post });
  third.on("resolved", ({ resolution }) => ended.push(resolution.type));
  await until(third.comments(post), ({ count }) => count === 1);
  await until(third.sync, ({ synced }) => synced);
  expect(ended).toEqual(["confirmed"]);
});

test("how a command of a session before ended is told to who listens late, once", async () => {
  const first = client(server.url, "ada", { online: false, name: post });
  await first.comments(post).add("one").stored;
  await first.close();
  const second = client(server.url, "ada", { name: post });
  await until(second.sync, ({ synced, lastDurableAt }) => synced && lastDurableAt !== undefined);
  await second.close();
  // The session that heard of it had nobody to tell.
  const third = client(server.url, "ada", { name: post });
  await until(third.sync, ({ synced }) => synced);
  const told: string[] = [];
  third.on("resolved", ({ id }) => told.push(id));
  const two = third.comments(post).add("two");
  await two;
  expect(told.length).toBe(2);
  expect(told).toContain(two.id);
  await third.close();
  const fourth = client(server.url, "ada", { name: post });
  fourth.on("resolved", ({ id }) => told.push(id));
  await until(fourth.comments(post), ({ count }) => count === 2);
  await until(fourth.sync, ({ synced }) => synced);
  expect(told.length).toBe(2);
});

test("what is rolled back says why, is kept until it is dismissed, and is told once", async () => {
  const own = await Server.start("--owners", "owner");
  const owner = client(own.url, "owner", { storage: "memory" });
  const eve = client(own.url, "eve", { name: `${post}-eve` });
  await owner.post(post).create({ title: "t" });
  await eve.comments(post).add("first");
  // While eve is away, she may only read any more.
  eve.disconnect();
  await until(eve.connection, ({ phase }) => phase === "idle");
  const pending = eve.comments(post).add("too late");
  await pending.stored;
  expect(await owner.document("town/rules").put(["members", "eve"], "viewer")).toEqual({ type: "confirmed" });
  const told: unknown[] = [];
  eve.on("rolledBack", (detail) => told.push(detail));
  eve.connect();
  const resolution = await pending;
  expect(resolution).toMatchObject({ type: "refused", code: "forbidden" });
  expect(told).toEqual([expect.objectContaining({ id: pending.id, address: `${post}/comments`, resolution })]);
  const [kept] = await until(eve.refused, ({ length }) => length === 1);
  expect(kept).toMatchObject({ id: pending.id, command: { comments: { add: { body: "too late" } } }, resolution });
  await until(eve.comments(post), ({ thread }) => thread.map(({ body }) => body).join() === "first");
  // It is still there after the page was loaded again, but not news.
  await eve.close();
  const again = client(own.url, "eve", { name: `${post}-eve` });
  again.on("rolledBack", (detail) => told.push(detail));
  await until(again.refused, ({ length }) => length === 1);
  again.dismiss(kept!.id);
  await until(again.refused, ({ length }) => length === 0);
  expect(told.length).toBe(1);
  await Promise.all([owner.close(), again.close()]);
  await own.stop();
});

test("by server-sent events it is the same", async () => {
  const ada = client(server.url, "ada", { storage: "memory", transport: "sse" });
  const bob = client(server.url, "bob", { storage: "memory" });
  await ada.comments(post).add("by events");
  await until(bob.comments(post), ({ count }) => count === 1);
  await bob.comments(post).add("by socket");
  await until(ada.comments(post), ({ count }) => count === 2);
  expect(ada.connection.getSnapshot()).toMatchObject({ phase: "connected", transport: "sse", leads: true });
  expect(bob.connection.getSnapshot()).toMatchObject({ transport: "websocket" });
});

test("where sockets are blocked it goes by events by itself", async () => {
  class Blocked extends EventTarget {
    static readonly OPEN = 1;
    readyState = 3;
    onclose: ((event: { code: number; reason: string }) => void) | undefined;
    constructor() {
      super();
      queueMicrotask(() => this.onclose?.({ code: 1006, reason: "" }));
    }
    close(): void {}
    send(): void {}
  }
  const ada = client(server.url, "ada", { storage: "memory", webSocket: Blocked as unknown as typeof WebSocket });
  await ada.comments(post).add("through");
  expect(ada.connection.getSnapshot().transport).toBe("sse");
});

test("presence and typing come and go", async () => {
  const space = `room${count}`;
  const [ada, bob] = [client(server.url, "ada", { storage: "memory" }), client(server.url, "bob", { storage: "memory" })];
  const leave = ada.space(space).enter();
  const leaveBob = bob.space(space).enter();
  await until(ada.space(space), ({ phase, members }) => phase === "inside" && members.length === 2);
  bob.space(space).announce("status", "busy");
  await until(ada.space(space), ({ members }) => members.some(({ user, says }) => user === "bob" && says.status === "busy"));
  bob.space(space).setTyping(`${space}/x/comments`, true);
  await until(ada.space(space).typing(`${space}/x/comments`), (users) => users.includes("bob"));
  bob.space(space).setTyping(`${space}/x/comments`, false);
  await until(ada.space(space).typing(`${space}/x/comments`), (users) => users.length === 0);
  leaveBob();
  await until(ada.space(space), ({ members }) => members.length === 1);
  leave();
  await until(ada.space(space), ({ phase }) => phase === "apart");
});

test("others' selections are where they are in the text", async () => {
  const [ada, bob] = [client(server.url, "ada", { storage: "memory" }), client(server.url, "bob", { storage: "memory" })];
  const leaves = [ada.space("town").enter(), bob.space("town").enter()];
  await ada.post(post).create({ title: "t", body: "hello world" });
  await ada.post(post).addEditor("bob");
  await until(bob.post(post), ({ body, editors }) => body === "hello world" && editors.includes("bob"));
  const selections = bob.post(post).selections("body");
  const release = ada.post(post).subscribe(() => {});
  await until(ada.space("town"), ({ phase }) => phase === "inside");
  ada.post(post).select("body", { anchor: 6, head: 11 });
  await until(selections, ([one]) => one?.user === "ada" && one.anchor === 6 && one.head === 11);
  await bob.post(post).splice("body", 0, 0, ">> ");
  await until(selections, ([one]) => one?.anchor === 9 && one.head === 14);
  ada.post(post).select("body", null);
  await until(selections, ({ length }) => length === 0);
  release();
  leaves.forEach((leave) => leave());
});

test("a feed shows the posts of a space, the latest first", async () => {
  const space = `feed${count}`;
  const ada = client(server.url, "ada", { storage: "memory" });
  const feed = ada.feed(space, { newest: 10 });
  const release = feed.subscribe(() => {});
  await ada.post(`${space}/one`).create({ title: "One" });
  await until(feed, ({ phase, posts }) => phase === "live" && posts[0]?.title === "One");
  await ada.likes(`${space}/one`).like();
  await until(feed, ({ posts }) => posts[0]?.likes === 1);
  release();
});

test("a stream is read while it is written, interrupted, and committed as a comment", async () => {
  const [ada, bot] = [client(server.url, "ada", { storage: "memory" }), client(server.url, "bot", { storage: "memory" })];
  const writer = await bot.createStream(post, { askedBy: "ada" });
  await writer.append("Hello, ");
  const reader = ada.stream(post);
  await until(reader, ({ text, phase }) => text === "Hello, " && phase === "streaming");
  await writer.append("wörld 😀");
  await until(reader, ({ text }) => text === "Hello, wörld 😀");
  await reader.interrupt();
  expect(await writer.interrupted).toBe("ada");
  await until(reader, ({ phase, interruptedBy }) => phase === "interrupted" && interruptedBy === "ada");
  await writer.finish({ commit: { address: post } });
  const { outcome } = await until(reader, ({ phase }) => phase === "ended");
  const { thread } = await until(ada.comments(post), ({ count }) => count === 1);
  expect(thread[0]).toMatchObject({ author: "bot", body: "Hello, wörld 😀" });
  expect(outcome).toEqual({ type: "finished", comment: thread[0]!.id });
  await expect(ada.resumeStream(post)).rejects.toMatchObject({ code: "not_producer" });
  await until(ada.stream("town/nothing-there"), ({ phase, code }) => phase === "failed" && code === "no_stream");
});

test("nothing is written to a stream that has ended", async () => {
  const bot = client(server.url, "bot", { storage: "memory" });
  const writer = await bot.createStream(post);
  await writer.append("Hello ");
  await writer.finish();
  await expect(bot.createStream(post)).rejects.toMatchObject({ code: "stream_ended" });
  await expect(bot.resumeStream(post)).rejects.toMatchObject({ code: "stream_ended" });
  await expect(writer.append("more")).rejects.toMatchObject({ code: "stream_ended" });
  const elsewhere = client(server.url, "bot", { storage: "memory" });
  await expect(elsewhere.createStream(post)).rejects.toMatchObject({ code: "stream_ended" });
  const empty = `${post}-empty`;
  await (await bot.createStream(empty)).finish();
  await expect(elsewhere.createStream(empty)).rejects.toMatchObject({ code: "stream_ended" });
  expect((await until(elsewhere.stream(post), ({ phase }) => phase === "ended")).text).toBe("Hello ");
});

test("who writes a stream that another device has ended is told", async () => {
  const [one, two] = [client(server.url, "bot", { storage: "memory" }), client(server.url, "bot", { storage: "memory" })];
  const writer = await one.createStream(post);
  await writer.append("Hello ");
  await until(two.stream(post), ({ text }) => text === "Hello ");
  await two.stream(post).interrupt();
  await (await two.resumeStream(post)).fail("enough");
  await until(one.stream(post), ({ phase }) => phase === "ended");
  await expect(writer.append("more")).rejects.toMatchObject({ code: "stream_ended" });
  await expect(writer.finish()).rejects.toMatchObject({ code: "stream_ended" });
  await expect(one.resumeStream(post)).rejects.toMatchObject({ code: "stream_ended" });
});

test("editors that are bound to one text end with the same", async () => {
  const [ada, bob] = [client(server.url, "ada", { storage: "memory" }), client(server.url, "bob", { storage: "memory" })];
  await ada.post(post).create({ title: "t", body: "." });
  await ada.post(post).addEditor("bob");
  await until(bob.post(post), ({ body, editors }) => body === "." && editors.includes("bob"));
  const [left, right] = [ada.post(post).text("body"), bob.post(post).text("body")];
  await eventually(() => left.text === "." && right.text === ".", "the text");
  for (const letter of "left") left.splice(left.text.length, 0, letter);
  for (const letter of "right") right.splice(0, 0, letter);
  expect([left.text, right.text]).toEqual([".left", "thgir."]);
  await eventually(() => left.text === "thgir.left" && right.text === "thgir.left", "the same text");
  await until(ada.post(post), ({ body }) => body === "thgir.left");
  left.splice(0, left.text.length, "");
  left.close();
  await eventually(() => right.text === "", "an empty text");
  right.close();
});

test("what is typed before a text is read is refused at once, and not lost in silence", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  const [early, nowhere] = [ada.post(post).text("body"), ada.document(post).text(["none"])];
  expect(() => early.splice(0, 0, "x")).toThrow(expect.objectContaining({ code: "bad_command" }));
  await ada.post(post).create({ title: "t", body: "." });
  early.splice(0, 0, "x");
  await until(ada.post(post), ({ body }) => body === "x.");
  await ada.document(post).ready;
  expect(() => nowhere.splice(0, 0, "x")).toThrow(expect.objectContaining({ code: "bad_command" }));
  early.close();
  nowhere.close();
});

test("what is typed without leave is taken back, and says why", async () => {
  const [ada, eve] = [client(server.url, "ada", { storage: "memory" }), client(server.url, "eve", { storage: "memory" })];
  await ada.post(post).create({ title: "t", body: "mine" });
  const page = eve.post(post);
  await until(page, ({ body }) => body === "mine");
  await until(page.status, ({ live }) => live);
  const problems: unknown[] = [];
  eve.on("problem", (problem) => problems.push(problem));
  const text = page.text("body");
  await eventually(() => text.text === "mine", "the text");
  const seen: unknown[] = [];
  text.onSplices((splices) => seen.push(...splices));
  text.splice(4, 0, " too");
  await eventually(() => text.text === "mine", "the text as it was");
  expect(seen).toEqual([{ index: 4, deleted: 4, inserted: "" }]);
  expect(problems).toEqual([{ address: `${post}/post`, code: expect.stringMatching(/forbidden|not_author/) as string, message: expect.any(String) as string }]);
  text.close();
});

test("nothing is left open by who has let go", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  await ada.ready;
  const before = ada.counts;
  for (let round = 0; round < 200; round++) {
    const releases = [ada.comments(post), ada.likes(post), ada.post(`${post}-${round}`), ada.feed("town"), ada.space("town"), ada.stream(post)]
      .map((store) => store.subscribe(() => {}));
    const text = ada.post(post).text("body");
    const leave = ada.space("town").enter();
    leave();
    text.close();
    releases.forEach((release) => release());
  }
  await ada.comments(post).add("and one command");
  await eventually(() => JSON.stringify(ada.counts) === JSON.stringify(before), `nothing open: ${JSON.stringify(ada.counts)}`);
});

test("without WebAssembly there is a clear message, and nothing else throws", async () => {
  const whole = globalThis.WebAssembly;
  Object.defineProperty(globalThis, "WebAssembly", { value: undefined, configurable: true, writable: true });
  try {
    const ada = client(server.url, "ada", { storage: "memory" });
    await expect(ada.ready).rejects.toMatchObject({ code: "no_webassembly", message: expect.stringContaining("WebAssembly") as string });
    const release = ada.comments(post).subscribe(() => {});
    await expect(async () => await ada.comments(post).add("x")).rejects.toMatchObject({ code: "no_webassembly" });
    expect(ada.connection.getSnapshot()).toMatchObject({ phase: "failed", code: "no_webassembly" });
    ada.post(post).text("body").splice(0, 0, "x");
    ada.space("town").enter()();
    ada.reconnect();
    release();
    await ada.close();
  } finally {
    globalThis.WebAssembly = whole;
  }
});

test("what is no WebAssembly is told from a platform that has none", async () => {
  const page = () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
  const missing = () => new Response("", { status: 404 });
  for (const wasm of [page(), missing(), new TextEncoder().encode("<!doctype html>"), new Uint8Array()]) {
    const ada = client(server.url, "ada", { storage: "memory", wasm });
    await expect(ada.ready).rejects.toMatchObject({
      code: "engine_unavailable", message: expect.stringMatching(/not found.*optimizeDeps.*exclude.*syncline\/wasm/) as string,
    });
  }
  const compile = WebAssembly.compile;
  WebAssembly.compile = () => Promise.reject(new WebAssembly.CompileError("a policy forbids it"));
  try {
    const wasm = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    await expect(client(server.url, "ada", { storage: "memory", wasm }).ready).rejects.toMatchObject({ code: "no_webassembly" });
  } finally {
    WebAssembly.compile = compile;
  }
});

test("a client that was closed says so", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  await until(ada.connection, ({ phase }) => phase === "connected");
  await ada.close();
  expect(ada.connection.getSnapshot()).toEqual({ phase: "idle", leads: false, code: "closed", message: "the client is closed" });
  await expect(async () => await ada.comments(post).add("x")).rejects.toMatchObject({ code: "closed" });
});

test("names that are none have a state that says so", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  const problems: string[] = [];
  ada.on("problem", ({ code, message }) => problems.push(`${code}|${message}`));
  const space = await until(ada.space("Bad Space"), ({ phase }) => phase === "outside");
  expect(space).toMatchObject({ code: "bad_address", members: [], lastSeen: {}, message: expect.stringMatching(/./) as string });
  const leave = ada.space("Bad Space").enter();
  ada.space("Bad Space").announce("key", "value");
  leave();
  const feed = await until(ada.feed("Bad Space"), ({ phase }) => phase === "ended");
  expect(feed).toMatchObject({ code: "bad_address", posts: [] });
  const stream = await until(ada.stream("bad"), ({ phase }) => phase === "failed");
  expect(stream).toMatchObject({ code: "bad_address", text: "" });
  ada.stream("bad").resume();
  await expect(ada.stream("bad").interrupt()).rejects.toMatchObject({ code: "bad_address" });
  await expect(ada.createStream("bad")).rejects.toMatchObject({ code: "bad_address" });
  expect(problems.length).toBeGreaterThan(0);
  for (const problem of [...problems, space.message, feed.message, stream.message]) {
    expect(problem).not.toMatch(/bad_address(:|.*bad_address)/);
  }
});

test("a store that fails says so, and what it had not is refused", async () => {
  const failing = {
    read: async () => [],
    write: async () => { throw new Error("the disk is full"); },
    close: async () => {},
  };
  const ada = client(server.url, "ada", { storage: failing });
  await until(ada.connection, ({ phase, code }) => phase === "failed" && code === "local_store");
  await expect(async () => await ada.comments(post).add("x")).rejects.toMatchObject({ code: "local_store" });
});
