/** An engine that traps is replaced by another, which goes on from the store. */

import { IDBFactory, IDBKeyRange as FakeRange } from "fake-indexeddb";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";

import type { Engine, EngineModule } from "../ts/host/engine.js";
import { client, until } from "./support/clients.js";
import { Server } from "./support/server.js";

/** How many more calls of `active` run into `unreachable`. */
const traps = vi.hoisted(() => ({ left: 0 }));

// (module (func (export "trap") unreachable))
const TRAP = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11,
]);

vi.mock("../ts/host/glue.js", async (original) => {
  const { bind } = await original<{ bind(module: WebAssembly.Module): Promise<EngineModule> }>();
  return {
    bind: async (module: WebAssembly.Module): Promise<EngineModule> => {
      const bound = await bind(module);
      const start = bound.Engine.start.bind(bound.Engine);
      bound.Engine.start = (config, keys, values) => {
        const engine = start(config, keys, values);
        const active = engine.active.bind(engine);
        engine.active = (now) => {
          if (traps.left-- > 0) (new WebAssembly.Instance(new WebAssembly.Module(TRAP)).exports.trap as () => void)();
          active(now);
        };
        return engine satisfies Engine;
      };
      return bound;
    },
  };
});

let server: Server;

beforeAll(async () => { server = await Server.start(); });
afterAll(() => server.stop());
beforeEach(() => {
  traps.left = 0;
  globalThis.indexedDB = new IDBFactory();
  globalThis.IDBKeyRange = FakeRange;
});

test("after a trap it goes on with everything that was done, and says so", async () => {
  const ada = client(server.url, "ada", { name: "trap" });
  const comments = ada.comments("town/trap");
  await comments.add("before");
  ada.disconnect();
  await until(ada.connection, ({ phase }) => phase === "idle");
  const stored = comments.add("stored, and not confirmed");
  await stored.stored;
  const text = ada.document("town/trap");
  await text.putText(["note"], "").stored;
  const binding = text.text(["note"]);
  // The first is carried out, the others are gathered into one command, which the trap takes away.
  for (const letter of "abc") binding.splice(binding.text.length, 0, letter);
  const problems: string[] = [];
  ada.on("problem", ({ code }) => problems.push(code));
  const fresh = comments.add("not even stored");
  traps.left = 1;
  ada.active();
  expect(problems).toEqual(["engine_failed"]);
  binding.splice(3, 0, "d");
  await until(ada.connection, ({ phase }) => phase === "idle");
  ada.connect();
  expect(await Promise.all([stored, fresh])).toEqual([{ type: "confirmed" }, { type: "confirmed" }]);
  const bob = client(server.url, "bob", { storage: "memory" });
  await until(bob.comments("town/trap"), ({ thread }) =>
    thread.map(({ body }) => body).join() === "before,stored, and not confirmed,not even stored");
  await until(bob.document("town/trap"), (json) => (json as { note?: string }).note === "abcd");
});

test("an engine that traps again and again is given up", async () => {
  const ada = client(server.url, "ada", { name: "again" });
  await ada.ready;
  traps.left = Infinity;
  const end = until(ada.connection, ({ phase, code }) => phase === "failed" && code === "engine_failed");
  const poke = setInterval(() => ada.active(), 5);
  await end;
  clearInterval(poke);
  await expect(async () => await ada.comments("town/again").add("x")).rejects.toMatchObject({ code: "engine_failed" });
});
