import { describe, expect, test } from "vitest";

import { reducer } from "../ts/documents/comments.js";
import { EventParser } from "../ts/host/sse.js";
import { endpointOf } from "../ts/host/transport.js";
import { share } from "../ts/share.js";
import { Ulids, isUlid } from "../ts/ulid.js";

const STREAM = ": keep-alive\n\ndata: aGk=\n\nevent: other\ndata: x\n\nretry: 5\r\ndata:aG8=\r\n\r\nevent: close\ndata: {\"code\":4106}\n\n";

describe("server-sent events", () => {
  test("are read however they are cut", () => {
    const bytes = new TextEncoder().encode(STREAM);
    for (let size = 1; size <= bytes.length; size++) {
      const parser = new EventParser();
      const seen: unknown[] = [];
      for (let at = 0; at < bytes.length; at += size) {
        for (const event of parser.feed(bytes.subarray(at, at + size))) {
          seen.push(event.type === "frame" ? new TextDecoder().decode(event.frame) : event);
        }
      }
      expect(seen, `in pieces of ${size}`).toEqual(["hi", "ho", { type: "close", code: 4106 }]);
    }
  });

  test("that are none end the reading, and take no room", () => {
    const feed = (text: string) => [...new EventParser().feed(new TextEncoder().encode(text))];
    expect(() => feed("data: !\n\n")).toThrow("a frame that is none");
    expect(() => feed("a".repeat((2 << 20) + 1))).toThrow("a line that is too long");
    expect(() => feed(`data: ${"a".repeat(1 << 20)}\n`.repeat(3))).toThrow("an event that is too long");
  });
});

test("a server's address is taken as native clients take it", () => {
  const dialled = (url: string) => endpointOf(url).socket;
  expect(dialled("https://example.org/team")).toBe("wss://example.org/team/v1/sync");
  expect(dialled("ws://127.0.0.1:4400/")).toBe("ws://127.0.0.1:4400/v1/sync");
  expect(endpointOf("wss://example.org").http).toBe("https://example.org/v1");
  for (const bad of ["", "nonsense", "ftp://example.org", "ws://u:p@example.org", "ws://example.org?q"]) {
    expect(() => endpointOf(bad), bad).toThrowError(expect.objectContaining({ code: "bad_address" }));
  }
});

test("what equals what was there is what was there", () => {
  const old = { a: [1, 2], b: { c: "x", d: [{ id: "p", n: 1 }, { id: "q", n: 2 }] }, e: null };
  expect(share(old, structuredClone(old))).toBe(old);
  const next = share(old, { ...structuredClone(old), e: 5 });
  expect(next).toEqual({ ...old, e: 5 });
  expect([next.a, next.b]).toEqual([old.a, old.b]);
  expect(next.a === old.a && next.b === old.b).toBe(true);
  const moved = share(old.b.d, [{ id: "n", n: 0 }, ...structuredClone(old.b.d)]);
  expect(moved[1]).toBe(old.b.d[0]);
  expect(moved[2]).toBe(old.b.d[1]);
  const odd = share({}, JSON.parse('{"__proto__": 1, "a": []}') as object);
  expect(Object.keys(odd)).toEqual(["__proto__", "a"]);
  expect(share([1, 2], [1])).toEqual([1]);
  expect(share({ a: 1, b: 2 }, { a: 1 } as object)).toEqual({ a: 1 });
});

test("of a thread only the comments that changed are made anew", () => {
  const reduce = reducer();
  const comment = (id: string, body: string) => ({ id, depth: 0, parent: null, author: "ada", created: 1, edited: null, deleted: null, body });
  const first = reduce({ count: 0, thread: [] }, {
    all: true, comments: [["1", comment("1", "a")], ["2", comment("2", "b")]], thread: [["1", 0], ["2", 0]], pending: ["2"],
  });
  expect(first).toMatchObject({ count: 2, thread: [{ pending: false }, { pending: true }] });
  const second = reduce(first, { all: false, comments: [["2", comment("2", "c")]], thread: [["1", 0], ["2", 0]], pending: [] });
  expect(second.thread[0]).toBe(first.thread[0]);
  expect(second.thread[1]).toMatchObject({ body: "c", pending: false });
  const third = reduce(second, { all: true, comments: [["1", comment("1", "a")], ["2", comment("2", "c")]], thread: [["1", 0], ["2", 0]], pending: [] });
  expect(third).toBe(second);
  expect(reduce(third, { all: false, comments: [["1", null]], thread: [["2", 0]], pending: [] }).thread).toEqual([third.thread[1]]);
});

test("ids grow, also within a millisecond and when the clock goes back", () => {
  const ids = new Ulids();
  const made = [ids.next(5), ids.next(5), ids.next(4), ids.next(6), ...Array.from({ length: 100 }, () => ids.next(6))];
  expect([...made].sort()).toEqual(made);
  expect(new Set(made).size).toBe(made.length);
  expect(made.every(isUlid)).toBe(true);
});
