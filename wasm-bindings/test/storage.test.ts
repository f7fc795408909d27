import { IDBFactory, IDBKeyRange as FakeRange } from "fake-indexeddb";
import { beforeEach, describe, expect, test } from "vitest";

import { IndexedDbStorage } from "../ts/host/indexeddb.js";
import { MemoryStorage } from "../ts/host/memory.js";
import type { Storage } from "../ts/types.js";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (entries: [Uint8Array, Uint8Array][]) => entries.map(([key, value]) => `${String.fromCharCode(...key)}=${String.fromCharCode(...value)}`);

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
  globalThis.IDBKeyRange = FakeRange;
});

const stores: [string, () => Promise<Storage>][] = [
  ["memory", async () => new MemoryStorage()],
  ["IndexedDB", () => IndexedDbStorage.open("test")],
];

describe.each(stores)("a store in %s", (_, open) => {
  test("reads a prefix in the order of bytes, and what was asked to be written before", async () => {
    const store = await open();
    const written = [
      store.write([[bytes("b/2"), bytes("two")], [bytes("a"), bytes("x")], [bytes("b/1"), bytes("one")]]),
      store.write([[bytes("b/1"), bytes("uno")], [bytes("a"), null]]),
      store.write([[new Uint8Array([0xff]), bytes("f")], [new Uint8Array([0xff, 0xff]), bytes("g")]]),
    ];
    expect(text(await store.read(bytes("b/")))).toEqual(["b/1=uno", "b/2=two"]);
    expect(text(await store.read(bytes("a")))).toEqual([]);
    expect((await store.read(new Uint8Array([0xff]))).length).toBe(2);
    expect((await store.read(new Uint8Array())).length).toBe(4);
    await Promise.all(written);
    await store.close();
  });
});

test("what was written is there when it is opened again", async () => {
  const store = await IndexedDbStorage.open("again");
  void store.write([[bytes("k"), bytes("v")]]);
  await store.close();
  const again = await IndexedDbStorage.open("again");
  expect(text(await again.read(bytes("k")))).toEqual(["k=v"]);
  await again.close();
});

test("a store that is closed or can't be opened says so with a code", async () => {
  const store = await IndexedDbStorage.open("closed");
  await store.close();
  await expect(store.write([[bytes("k"), bytes("v")]])).rejects.toMatchObject({ code: "local_store" });
  await expect(store.read(bytes("k"))).rejects.toMatchObject({ code: "local_store" });
  globalThis.indexedDB = { open: () => { throw new Error("it is not allowed here"); } } as unknown as IDBFactory;
  await expect(IndexedDbStorage.open("never")).rejects.toMatchObject({ code: "local_store" });
});

test("a batch that can't be written is not written in part", async () => {
  const store = await IndexedDbStorage.open("whole");
  const bad = { toString: () => "no bytes" } as unknown as Uint8Array;
  await expect(store.write([[bytes("k"), bytes("v")], [bad, bytes("v")]])).rejects.toMatchObject({ code: "local_store" });
  expect(await store.read(bytes("k"))).toEqual([]);
  await store.close();
});
