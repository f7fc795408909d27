/** What the types promise to apps. */

import { expectTypeOf, test } from "vitest";

import type { CollaborativeText, LabelsOf, TextPlace, useDocument, useOptimisticUpdate, usePost } from "../../ts/react/index.js";
import type { Pending, Post, PostView } from "../../ts/types.js";

test("hooks answer what their documents are", () => {
  type Used = ReturnType<typeof usePost>;
  expectTypeOf<Used["view"]>().toEqualTypeOf<PostView>();
  expectTypeOf<Used["handle"]>().toEqualTypeOf<Post>();
  expectTypeOf<ReturnType<typeof useDocument<{ n: number }>>["view"]>().toEqualTypeOf<{ n: number }>();
  type Run = ReturnType<typeof useOptimisticUpdate<[title: string, n: number]>>["run"];
  expectTypeOf<Parameters<Run>>().toEqualTypeOf<[title: string, n: number]>();
  expectTypeOf<Parameters<typeof useOptimisticUpdate>[0]>().returns.toEqualTypeOf<Pending>();
});

test("a text is a field of a post or a place in a schemaless document", () => {
  expectTypeOf<{ address: string; field: "body" }>().toExtend<TextPlace>();
  expectTypeOf<{ address: string; path: ["a", 0] }>().toExtend<TextPlace>();
  expectTypeOf<{ address: string; field: "tags" }>().not.toExtend<TextPlace>();
  expectTypeOf<{ address: string; field: "body" }>().not.toExtend<Parameters<typeof CollaborativeText>[0]>();
});

test("every word of a component can be replaced, and only those", () => {
  expectTypeOf<{ send: string }>().toExtend<LabelsOf<"comments">>();
  expectTypeOf<{ send: number }>().not.toExtend<LabelsOf<"comments">>();
});
