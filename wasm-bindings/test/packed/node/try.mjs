// The packed package in a fresh script: without a server it keeps what is done on the device.

import assert from "node:assert/strict";

import { createClient, SynclineError } from "syncline";
import engine from "syncline/wasm/inline";

for (const wasm of [undefined, engine]) {
  const client = createClient({ url: "ws://127.0.0.1:9", user: "ada", online: false, ...(wasm ? { wasm } : {}) });
  await client.ready;
  const comments = client.comments("town/square");
  const command = comments.add("from a script");
  await command.stored;
  assert.deepEqual(comments.getSnapshot().thread.map(({ body, pending }) => [body, pending]), [["from a script", true]]);
  await assert.rejects(async () => await comments.add(""), (error) => error instanceof SynclineError && error.code === "bad_command");
  await client.close();
}
console.log("modules: ok");
