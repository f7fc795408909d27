// Engines against the server itself: what a host builds on.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { Device, Store, startServer, until } from "./support.mjs";

const TIMEOUT = { timeout: 120_000 };

let server;
before(async () => { server = await startServer(); });
after(() => server.stop());

/** A device that ends with its test. */
function device(t, user, store) {
  const made = new Device(server, user, store);
  t.after(() => made.kill());
  return made;
}

/** Both users at the same documents, in contact. */
async function pair(t, ...addresses) {
  const devices = [device(t, "ada"), device(t, "bob")];
  for (const one of devices) {
    await one.open(...addresses);
    one.do("setOnline", true);
  }
  for (const one of devices) await one.settled();
  return devices;
}

/** Waits until nothing is on its way and both have the same. */
async function meet(address, a, b) {
  await until(() => [a, b].every((one) => one.json("stats").pending === 0)
    && `${a.engine.heads(address)}` === `${b.engine.heads(address)}`);
}

test("a command shows at once, is confirmed, and is there for others", TIMEOUT, async (t) => {
  const address = "meet/one/comments";
  const [ada, bob] = await pair(t, address);
  const id = ada.execute(address, { comments: { add: { body: "Hello" } } });
  const [comment] = ada.view(address).thread;
  assert.deepEqual([comment.body, comment.author, comment.depth], ["Hello", "ada", 0]);
  assert.deepEqual(ada.json("pending", address).map((pending) => pending.id), [id]);
  assert.deepEqual(await ada.resolution(id), { type: "confirmed" });
  assert.deepEqual(ada.json("pending", address), []);
  assert.deepEqual(ada.json("endings").map((ending) => ending.id), [id]);
  ada.do("taken", id);
  assert.deepEqual(ada.json("endings"), []);

  await until(() => bob.view(address).count === 1);
  bob.execute(address, { comments: { add: { body: "Hi", parent: comment.id } } });
  await until(() => ada.view(address).count === 2);
  const [root, reply] = ada.json("thread", address);
  assert.deepEqual([root, reply[1]], [[comment.id, 0], 1]);
  const shown = ada.json("comment", address, reply[0]);
  assert.deepEqual([shown.parent, shown.author, shown.body], [comment.id, "bob", "Hi"]);
  assert.equal(ada.engine.comment(address, ada.do("newId")), undefined);
  const added = bob.notices.flatMap(({ events }) => events ?? []);
  assert.deepEqual(added.map(({ type, id }) => [type, id]), [
    ["comment_added", comment.id], ["comment_added", reply[0]],
  ]);
  await meet(address, ada, bob);
  const history = ada.json("history", address);
  const last = history.at(-1);
  assert.deepEqual([last.hash], ada.engine.heads(address));
  assert.deepEqual([last.ops > 0, last.pending, last.deps.length], [true, false, 1]);
});

test("likes say how many there are and whether one is the user's own", TIMEOUT, async (t) => {
  const address = "meet/one/likes";
  const [ada, bob] = await pair(t, address);
  ada.execute(address, { likes: { like: {} } });
  bob.execute(address, { likes: { like: {} } });
  bob.execute(address, { likes: { like: { reaction: "👍🏽" } } });
  bob.execute(address, { likes: { count: { counter: "views", by: 3 } } });
  await meet(address, ada, bob);
  assert.deepEqual(ada.view(address), {
    targets: { post: { like: { count: 2, mine: true }, "👍🏽": { count: 1, mine: false } } },
    counters: { views: 3, shares: 0 },
  });
  bob.execute(address, { likes: { unlike: {} } });
  await until(() => ada.view(address).targets.post.like.count === 1);
  assert.equal(bob.view(address).targets.post.like.mine, false);
});

test("text is spliced in UTF-16, typing is gathered, and what was done is undone", TIMEOUT, async (t) => {
  const address = "meet/one/post";
  const [ada, bob] = await pair(t, address);
  ada.execute(address, { post: { create: { title: "👋 all" } } });
  await until(() => bob.view(address).author === "ada");
  ada.execute(address, { post: { add_editor: { user: "bob" } } });
  await until(() => bob.view(address).editors.includes("bob"));
  const splice = (field, index, insert) => ({ post: { splice: { field, index, delete: 0, insert } } });
  ada.execute(address, splice("title", "👋".length, " you"));
  const names = [..."world"].map((letter, at) =>
    bob.do("executeTyped", address, JSON.stringify(splice("body", at, letter)), undefined));
  assert.equal(new Set(names).size, 2, "the first key, and the rest");
  assert.equal(bob.engine.text(address, "body"), "w");
  bob.do("flush", address);
  assert.equal(bob.engine.text(address, "body"), "world");
  await until(() => ada.engine.text(address, "body") === "world");
  assert.equal(ada.engine.text(address, "title"), "👋 you all");
  const spliced = ada.notices.flatMap(({ events, local }) => (local ? [] : events ?? []))
    .filter(({ type }) => type === "body_spliced");
  const replayed = spliced.reduce((text, { index, deleted, inserted }) =>
    text.slice(0, index) + inserted + text.slice(index + deleted), "");
  assert.equal(replayed, "world");
  assert.deepEqual([...bob.engine.undoable(address)], [2, 0]);
  bob.do("undo", address, undefined);
  assert.equal(bob.engine.text(address, "body"), "w");
  bob.do("redo", address, undefined);
  await until(() => ada.engine.text(address, "body") === "world");
  await meet(address, ada, bob);
});

test("what is done offline outlives the tab, and is replayed once", TIMEOUT, async (t) => {
  const address = "meet/two/json";
  const store = new Store();
  const ada = device(t, "ada", store);
  await ada.open(address);
  ada.execute(address, { json: { put_text: { path: ["notes"], text: "offline" } } });
  const id = ada.execute(address, { json: { put: { path: ["n"], value: 1 } } });
  assert.equal(ada.json("stats").pending, 2);
  const heads = ada.engine.heads(address);
  ada.kill();

  const again = device(t, "ada", store);
  await again.open(address);
  assert.deepEqual(again.engine.heads(address), heads);
  // Whoever did not hear of it hands it in again.
  assert.equal(again.execute(address, { json: { put: { path: ["n"], value: 2 } } }, id), id);
  assert.equal(again.engine.text(address, '["notes"]'), "offline");
  assert.deepEqual(again.view(address), { n: 1, notes: "offline" });
  again.do("setOnline", true);
  assert.deepEqual(await again.resolution(id), { type: "confirmed" });

  const bob = device(t, "bob");
  await bob.open(address);
  bob.do("setOnline", true);
  await bob.settled();
  await meet(address, again, bob);
  assert.deepEqual(bob.view(address), { n: 1, notes: "offline" });
  await again.stop();

  const later = device(t, "ada", store);
  assert.deepEqual(later.json("endings").map((ending) => ending.id).includes(id), true);
  await later.open(address);
  assert.deepEqual(later.view(address), { n: 1, notes: "offline" }, "offline, from the store");
});

test("edits that were made apart all stand", TIMEOUT, async (t) => {
  const address = "meet/three/json";
  const [ada, bob] = await pair(t, address);
  ada.execute(address, { json: { put_text: { path: ["t"], text: "middle" } } });
  await until(() => bob.engine.text(address, '["t"]') === "middle");
  const splice = (index, insert) => ({ json: { splice: { path: ["t"], index, delete: 0, insert } } });
  for (const one of [ada, bob]) one.do("setOnline", false);
  ada.execute(address, splice(0, "from ada, "));
  bob.execute(address, splice("middle".length, ", from bob"));
  for (const one of [ada, bob]) one.do("setOnline", true);
  await until(() => ada.engine.text(address, '["t"]') === "from ada, middle, from bob");
  await meet(address, ada, bob);
});

test("what the server refuses is rolled back with its reason, and kept until dismissed", TIMEOUT, async (t) => {
  const address = "meet/four/likes";
  const store = new Store();
  const ada = device(t, "ada", store);
  await ada.open(address);
  // Offline, and in contact never before, nobody knows better.
  const id = ada.execute(address, { likes: { like: { user: "eve" } } });
  assert.equal(ada.view(address).targets.post.like.count, 1);
  ada.do("setOnline", true);
  const resolution = await ada.resolution(id);
  assert.equal(resolution.type, "refused");
  assert.match(resolution.code, /^[a-z_]+$/);
  assert.ok(resolution.message.length > 0);
  assert.deepEqual(ada.view(address).targets, {});
  const [refused] = ada.json("refused");
  assert.deepEqual([refused.id, refused.address, refused.command.likes.like.user], [id, address, "eve"]);
  assert.equal(ada.execute(address, { likes: { like: {} } }, id), id, "it is known");
  assert.deepEqual(ada.view(address).targets, {});
  ada.kill();
  const again = device(t, "ada", store);
  assert.deepEqual(again.json("refused").map((one) => one.id), [id]);
  again.do("dismissed", id);
  assert.deepEqual(again.json("refused"), []);
});

test("people in a space see each other, what they say, and where they are in a text", TIMEOUT, async (t) => {
  const address = "meet/five/json";
  const [ada, bob] = await pair(t, address);
  ada.execute(address, { json: { put_text: { path: ["t"], text: "some text" } } });
  await until(() => bob.engine.text(address, '["t"]') === "some text");
  await ada.settled();
  for (const one of [ada, bob]) one.do("enter", "meet", true);
  await until(() => ada.json("space", "meet")?.members?.length === 2);
  const view = ada.json("space", "meet");
  assert.deepEqual([view.phase, view.members.map(({ user }) => user)], ["inside", ["ada", "bob"]]);
  assert.deepEqual([view.members[1].active, view.members[1].devices], [true, 1]);

  bob.do("announce", "meet", "mood", JSON.stringify({ is: "good" }), undefined);
  bob.do("announce", "meet", "note", "no JSON", 60_000);
  bob.do("announce", "meet", "typing", JSON.stringify(address), 60_000);
  const says = () => ada.json("space", "meet").members[1].says;
  await until(() => says().mood && says().note);
  assert.deepEqual([says().mood, says().note], [{ is: "good" }, "no JSON"]);
  await until(() => ada.json("typing", address).includes("bob"));

  const place = '["t"]';
  const [anchor, head] = [bob.engine.caret(address, place, 5), bob.engine.caret(address, place, 9)];
  assert.deepEqual([bob.engine.caretIndex(address, place, anchor), anchor === head], [5, false]);
  const selection = { in: address, at: place, anchor, head };
  bob.do("announce", "meet", "cursor", JSON.stringify(selection), undefined);
  await until(() => ada.json("selections", address, place).length === 1);
  ada.execute(address, { json: { splice: { path: ["t"], index: 0, delete: 0, insert: "Here: " } } });
  const [seen] = ada.json("selections", address, place);
  assert.deepEqual([seen.user, seen.anchor, seen.head], ["bob", 11, 15]);
  assert.deepEqual(ada.json("selections", address, '["other"]'), []);

  bob.do("leave", "meet");
  await until(() => ada.json("space", "meet").members.length === 1);
  assert.equal(typeof ada.json("space", "meet").lastSeen.bob, "number");
  assert.equal(bob.engine.space("meet"), undefined);
});

test("a feed lists the posts of a space as they change", TIMEOUT, async (t) => {
  const [ada, bob] = await pair(t, "news/a/post", "news/a/likes");
  ada.execute("news/a/post", { post: { create: { title: "First" } } });
  await ada.settled();
  bob.do("followFeed", "news", 10);
  const posts = () => bob.json("feed", "news")?.posts ?? [];
  await until(() => posts().length === 1);
  assert.equal(bob.json("feed", "news").phase, "live");
  assert.deepEqual([posts()[0].id, posts()[0].title, posts()[0].author], ["a", "First", "ada"]);
  ada.execute("news/a/likes", { likes: { like: {} } });
  await until(() => posts()[0].likes === 1);
  assert.deepEqual([posts()[0].reactions, posts()[0].comments], [{ like: 1 }, 0]);
  bob.do("leaveFeed", "news");
  assert.equal(bob.engine.feed("news"), undefined);
});

test("a stream is written, read, interrupted and committed as a comment", TIMEOUT, async (t) => {
  const [stream, comments] = ["meet/answer/stream", "meet/answer/comments"];
  const [ada, bob] = await pair(t, comments);
  ada.do("writeStream", stream, true, "bob");
  const { origin } = await until(() => {
    const state = ada.json("streamWriter", stream);
    return state.origin && state;
  });
  assert.deepEqual([origin.producer, origin.asked_by], ["ada", "bob"]);
  const reader = bob.do("readStream", stream, 0);
  let text = "";
  const take = () => {
    for (let taken; (taken = JSON.parse(bob.do("takeText", reader) ?? "null"));) text += taken.text;
    return text;
  };
  assert.equal(ada.do("appendStream", stream, "Grüße "), 8);
  await until(() => take() === "Grüße ");
  const interrupt = bob.do("interruptStream", stream);
  const answer = await until(() => bob.json("interruptAnswer", interrupt));
  assert.deepEqual(answer, { ok: true });
  bob.engine.leaveInterrupt(interrupt);
  await until(() => ada.json("streamWriter", stream).status.interrupted_by === "bob");
  ada.do("appendStream", stream, "again");
  await until(() => ada.json("streamWriter", stream).durable === 13);

  const id = ada.engine.streamComment(stream, origin.created);
  ada.execute(comments, { comments: { add: { id, body: "Grüße again" } } });
  const result = { address: comments, comment: id };
  ada.do("endStream", stream, JSON.stringify({ type: "finished", comment: result }));
  const ended = () => take() && bob.json("streamReader", reader).status?.outcome;
  const outcome = await until(ended);
  assert.deepEqual(outcome, { type: "finished", address: comments, comment: id });
  assert.equal(text, "Grüße again");
  assert.throws(() => ada.do("appendStream", stream, "x"), /^Error: stream_ended: /);
  await until(() => bob.view(comments).count === 1);
  ada.engine.leaveWriting(stream);
  bob.do("leaveReading", reader);
  assert.equal(bob.engine.streamReader(reader), undefined);
  const nowhere = bob.do("interruptStream", "meet/none/stream");
  const refused = await until(() => bob.json("interruptAnswer", nowhere));
  assert.equal(refused.code, "no_stream");
});
