// Whatever is handed in, an engine answers with an Error that has a code, or does nothing, and goes on.

import assert from "node:assert/strict";
import test from "node:test";

import { Engine } from "./support.mjs";

const CODED = /^Error: [a-z_]+: ./;
const COMMENTS = "town/one/comments";
const start = (config, keys = [], values = []) => Engine.start(JSON.stringify(config), keys, values);

/** An engine with a document that is open, whose store is a map. */
function engine() {
  const made = start({ user: "ada", agent: "test/1" });
  run(made);
  made.open(1_000, COMMENTS, false);
  run(made);
  return made;
}

function run(made, now = 1_000) {
  for (const effect of made.effects()) {
    if (effect.kind === "write") made.written(now, effect.token, undefined);
    if (effect.kind === "read") made.read(now, effect.token, [], [], undefined);
  }
}

function works(made) {
  const before = JSON.parse(made.view(COMMENTS)).count;
  made.execute(2_000, COMMENTS, '{"comments":{"add":{"body":"Hi"}}}', undefined);
  assert.equal(JSON.parse(made.view(COMMENTS)).count, before + 1);
}

const STRINGS = [
  "", " ", "/", "//", "town/../json", "\0", "\ud800", "💥".repeat(1_000), "x".repeat(1 << 20), "{}", "[]",
  "null", "town/one/likes/more", "__proto__", "constructor", '{"__proto__":1}',
];
const NUMBERS = [NaN, Infinity, -Infinity, -1, 0.5, 2 ** 53, 1e300, -0];

test("configurations and stores that are none", () => {
  assert.throws(() => Engine.start("{", [], []), /^Error: bad_command: /);
  assert.throws(() => Engine.start("[]", [], []), /^Error: bad_command: /);
  assert.throws(() => start({ user: "no name" }), /^Error: unauthenticated: /);
  const key = new TextEncoder().encode("meta/identity");
  const ended = new TextEncoder().encode("meta/ended/0000000000000001");
  for (const [keys, values] of [
    [[key], []], [null, []], [[key], ["x"]], [{ length: 1 }, [key]], [[key], [new Uint8Array(3)]],
    [[key, ended], [new Uint8Array(33), new Uint8Array([255, 255])]],
  ]) {
    assert.throws(() => start({ user: "ada" }, keys, values), /^Error: local_store: /);
  }
});

test("addresses, ids, places and commands that are none", () => {
  const made = engine();
  const one = (method, ...args) => {
    try {
      made[method](...args);
    } catch (error) {
      assert.match(String(error), CODED, `${method} ${JSON.stringify(args).slice(0, 100)}`);
    }
  };
  for (const text of STRINGS) {
    for (const method of ["view", "thread", "pending", "history", "heads", "typing", "undoable"]) one(method, text);
    for (const method of ["streamWriter", "leaveWriting", "feed", "space"]) one(method, text);
    for (const method of ["close", "flush", "leave", "taken", "dismissed", "leaveFeed", "interruptStream", "setToken"]) {
      one(method, 1_000, text);
    }
    for (const place of STRINGS) {
      one("text", COMMENTS, place);
      one("text", text, place);
      one("selections", COMMENTS, place);
      one("comment", COMMENTS, place);
      one("caret", "town/one/post", place, 3);
      one("caretIndex", "town/one/post", "body", place);
    }
    one("open", 1_000, text, true);
    one("execute", 1_000, COMMENTS, text, undefined);
    one("execute", 1_000, COMMENTS, '{"comments":{"add":{"body":"x"}}}', text);
    one("execute", 1_000, text, "{}", undefined);
    one("executeTyped", 1_000, COMMENTS, text, undefined);
    one("undo", 1_000, text, text);
    one("redo", 1_000, COMMENTS, text);
    one("enter", 1_000, text, true);
    one("announce", 1_000, "town", text, text, 5);
    one("announce", 1_000, text, "key", "1", undefined);
    one("kick", 1_000, "town", text, 5);
    one("followFeed", 1_000, text, 5);
    one("readStream", 1_000, text, 0);
    one("writeStream", 1_000, "town/a/stream", true, text);
    one("appendStream", 1_000, "town/a/stream", text);
    one("endStream", 1_000, "town/a/stream", text);
    one("streamComment", text, 5);
    run(made);
  }
  works(made);
});

test("the codes of what is wrong are those that are documented", () => {
  const made = engine();
  const refuses = (code, call) => assert.throws(call, new RegExp(`^Error: ${code}: `));
  const run = (command, id) => made.execute(1_000, COMMENTS, JSON.stringify(command), id);
  refuses("bad_address", () => made.open(1_000, "town/one", false));
  refuses("bad_command", () => made.execute(1_000, COMMENTS, "{", undefined));
  refuses("bad_command", () => made.execute(1_000, COMMENTS, "[".repeat(100_000), undefined));
  refuses("bad_command", () => run({ comments: { add: { body: "x".repeat(1 << 20) } } }));
  refuses("bad_command", () => run({ likes: { like: {} } }));
  refuses("bad_command", () => run({ comments: { add: { body: "x" } } }, "no id"));
  refuses("not_found", () => run({ comments: { delete: { id: "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F" } } }));
  refuses("not_found", () => made.execute(1_000, "town/two/likes", '{"likes":{"like":{}}}', undefined));
  refuses("no_effect", () => made.undo(1_000, COMMENTS, undefined));
  refuses("bad_presence", () => made.announce(1_000, "town", "No key", "1", undefined));
  refuses("bad_presence", () => made.announce(1_000, "town", "key", "x".repeat(2_000), undefined));
  refuses("not_found", () => made.appendStream(1_000, "town/one/stream", "x"));
  refuses("bad_command", () => made.thread("town/two/likes") ?? made.text(COMMENTS, "nothing"));
  works(made);
});

test("numbers that are no times, connections, tokens or positions", () => {
  const made = engine();
  for (const number of NUMBERS) {
    made.tick(number);
    made.setOnline(number, true);
    made.connected(1_000, number);
    made.received(1_000, number, new Uint8Array([1, 2, 3]));
    made.disconnected(1_000, number, number, "gone");
    made.written(1_000, number, undefined);
    made.read(1_000, number, [], [], "failed");
    made.caret(COMMENTS, "body", number);
    made.followFeed(number, "town", number);
    made.leaveReading(1_000, number);
    made.leaveInterrupt(number);
    assert.equal(made.takeText(number, number), undefined);
    assert.equal(made.streamReader(number), undefined);
    made.readStream(number, "town/a/stream", number);
    made.kick(number, "town", "bob", number);
    made.announce(number, "town", "key", "1", number);
    made.streamComment("town/a/stream", number);
    assert.match(made.newId(number), /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
    run(made);
  }
  assert.ok(made.timeout() === undefined || Number.isFinite(made.timeout()));
  works(made);
});

test("frames that are none end the connection and nothing else", () => {
  const made = engine();
  made.setOnline(1_000, true);
  let seed = 1;
  const random = () => (seed = (seed * 48_271) % 0x7fff_ffff);
  for (let round = 0; round < 200; round++) {
    const connect = made.effects().find(({ kind }) => kind === "connect");
    if (connect) made.connected(1_000, connect.connection);
    const connection = connect?.connection ?? 1;
    const frame = Uint8Array.from({ length: random() % 300 }, () => random() & 255);
    frame[0] = round % 48;
    made.received(1_000, connection, frame);
    made.reconnect(1_000 + round);
  }
  works(made);
});

test("a command with the last id that there is leaves ids for others", () => {
  const made = engine();
  const id = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
  made.execute(1_000, COMMENTS, JSON.stringify({ comments: { add: { id, body: "x" } } }), undefined);
  works(made);
});
