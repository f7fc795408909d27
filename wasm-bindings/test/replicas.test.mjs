// Two copies of each kind of document in one process of Node, apart and then together.
// Build first: `cargo xtask wasm`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";

const { Document } = createRequire(import.meta.url)("../../target/wasm/node/syncline_wasm.js");

const ADA = "00000000000000010000000100000000";
const BOB = "00000000000000010000000200000000";
const FIRST = "01C5PCCKHD0000000000000001";
const SECOND = "01C5PCCKHD0000000000000002";
const hex = (bytes) => Buffer.from(bytes).toString("hex");

/** A copy at either of two places. */
function pair(facet) {
  const address = `town/square/${facet}`;
  return [Document.open(address, ADA), Document.open(address, BOB)];
}

function meet(a, b) {
  const [fromA, fromB] = [a.changesSince(b.heads()), b.changesSince(a.heads())];
  a.apply(fromB);
  b.apply(fromA);
  assert.equal(hex(a.heads()), hex(b.heads()));
}

test("two copies begin equal, byte for byte", () => {
  for (const facet of ["post", "likes", "comments", "json"]) {
    const [a, b] = pair(facet);
    assert.equal(hex(a.heads()), hex(b.heads()));
    assert.equal(hex(a.save()), hex(b.save()));
  }
});

test("likes that were given apart all count when the copies meet", () => {
  const [a, b] = pair("likes");
  const fromAda = a.like("post", "like", "ada", FIRST);
  b.like("post", "like", "ada", SECOND);
  b.like("post", "👍🏽", "bob", SECOND);
  assert.ok(b.apply(fromAda) <= 1);
  meet(a, b);
  for (const copy of [a, b]) {
    assert.equal(copy.likeCount("post", "like"), 1, "one user counts once");
    assert.equal(copy.likeCount("post", "👍🏽"), 1);
  }
  b.apply(a.unlike("post", "like", "ada"));
  assert.equal(b.likeCount("post", "like"), 0);
});

test("a change set that is applied twice changes nothing the second time", () => {
  const [a, b] = pair("likes");
  const set = a.like("post", "like", "ada", FIRST);
  assert.equal(b.apply(set), 1);
  assert.equal(b.apply(set), 0);
  assert.equal(b.likeCount("post", "like"), 1);
});

test("text that was typed apart is all there, at positions that count as JavaScript counts", () => {
  const [a, b] = pair("post");
  const create = { author: "ada", created: 1, title: "Hello", body: "👋 world", tags: [] };
  b.apply(a.command(JSON.stringify({ post: { create } })));
  assert.equal(b.body(), "👋 world");
  a.splice("👋 ".length, 0, "wide ");
  b.splice(b.body().length, 0, "!");
  meet(a, b);
  assert.equal(a.body(), "👋 wide world!");
  assert.equal(b.body(), a.body());
});

test("comments and their replies form the same thread everywhere", () => {
  const [a, b] = pair("comments");
  b.apply(a.comment(FIRST, "ada", undefined, "first", 1_700_000_000_000));
  b.comment(SECOND, "bob", FIRST, "a reply", 1_700_000_000_001);
  meet(a, b);
  const thread = JSON.parse(a.comments());
  assert.deepEqual(JSON.parse(b.comments()), thread);
  assert.deepEqual(
    thread.map(({ id, parent, author, body, created }) => [id, parent, author, body, created]),
    [
      [FIRST, null, "ada", "first", 1_700_000_000_000],
      [SECOND, FIRST, "bob", "a reply", 1_700_000_000_001],
    ],
  );
});

test("a saved document comes back the same", () => {
  const [a] = pair("comments");
  a.comment(FIRST, "ada", undefined, "first", 1);
  const b = Document.load("town/square/comments", BOB, a.save());
  assert.equal(b.comments(), a.comments());
  assert.equal(hex(b.heads()), hex(a.heads()));
});

test("what is damaged or forbidden is an Error with a code, and changes nothing", () => {
  const [a, b] = pair("likes");
  const set = a.like("post", "like", "ada", FIRST);
  const before = hex(b.heads());
  for (let end = 0; end < set.length; end++) {
    assert.throws(() => b.apply(set.subarray(0, end)), Error, `cut at ${end}`);
  }
  for (let at = 0; at < set.length; at++) {
    const flipped = Uint8Array.from(set);
    flipped[at] ^= 1;
    assert.throws(() => b.apply(flipped), /^Error: bad_change: /, `flipped at ${at}`);
  }
  assert.equal(hex(b.heads()), before);
  assert.throws(() => b.like("post", "two words", "ada", FIRST), /^Error: bad_command: /);
  assert.throws(() => b.splice(0, 0, "x"), /^Error: bad_command: /);
  assert.throws(() => Document.open("nowhere", ADA), /^Error: bad_address: /);
  assert.throws(() => Document.open("town/square/post", "ada"), /^Error: wrong_actor: /);
  assert.equal(b.apply(set), 1, "and it still works");
});
