/** The types of the public API: checked by `npm run types`, which compiles this file. */

import { expectTypeOf, test } from "vitest";

import {
  createClient, SynclineError, type Client, type ClientEvents, type Comment, type CommentsView, type Json, type Pending,
  type RefusedCommand, type Resolution, type Store, type StreamWriter, type SynclineErrorLike,
} from "../ts/index.js";

test("the types say what an app can rely on", () => {
  expectTypeOf(createClient).returns.toEqualTypeOf<Client>();
  expectTypeOf<SynclineError>().toExtend<SynclineErrorLike>();
  // @ts-expect-error who is here must be said
  void (() => createClient({ url: "ws://127.0.0.1" }));
  // @ts-expect-error there is no such transport
  void (() => createClient({ url: "", user: "", transport: "pigeon" }));

  expectTypeOf<ReturnType<Client["comments"]>>().toExtend<Store<CommentsView>>();
  expectTypeOf<ReturnType<Client["document"]>>().toExtend<Store<Json>>();
  expectTypeOf<CommentsView["thread"]>().toEqualTypeOf<readonly Comment[]>();
  expectTypeOf<Awaited<Pending>>().toEqualTypeOf<Resolution>();
  expectTypeOf<ReturnType<Client["createStream"]>>().resolves.toEqualTypeOf<StreamWriter>();
  expectTypeOf<ClientEvents["rolledBack"]>().toEqualTypeOf<RefusedCommand>();

  const use = (client: Client) => {
    client.on("resolved", ({ resolution }) => {
      if (resolution.type === "refused") expectTypeOf(resolution.code).toBeString();
      // @ts-expect-error only what was refused has a reason
      else void resolution.code;
    });
    // @ts-expect-error snapshots do not change
    void (() => { client.comments("a/b").getSnapshot().count = 1; });
    // @ts-expect-error a post has no such field
    void (() => client.post("a/b").splice("footer", 0, 0, ""));
    // @ts-expect-error a function is no JSON
    void (() => client.document("a/b").put(["f"], () => {}));
  };
  expectTypeOf(use).parameter(0).toEqualTypeOf<Client>();
});
