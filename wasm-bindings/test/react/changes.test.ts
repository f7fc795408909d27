/** What is told of two snapshots, which comments of a thread are shown, and where a text is cut. */

import { describe, expect, test } from "vitest";

import { commentsChanges, likesChanges, postChanges, spaceChanges } from "../../ts/react/changes.js";
import { shownThread } from "../../ts/react/components/comments/thread.js";
import { cut } from "../../ts/react/text/Mirror.js";
import type { Comment, PostView } from "../../ts/types.js";

function comment(id: string, fields: Partial<Comment> = {}): Comment {
  return { id, depth: 0, parent: null, author: "ada", created: 1, edited: null, deleted: null, body: id, pending: false, ...fields };
}

describe("changes", () => {
  test("of comments: added, edited, deleted, withdrawn; becoming confirmed is none", () => {
    const [a, b, c] = [comment("a", { pending: true }), comment("b"), comment("c")];
    const before = { count: 3, thread: [a, b, c] };
    const after = { count: 2, thread: [{ ...a, pending: false }, { ...b, body: null, deleted: 5 }, comment("d")] };
    expect(commentsChanges(before, after).map((change) => [change.type, "comment" in change ? change.comment.id : ""])).toEqual([
      ["comment_deleted", "b"], ["comment_added", "d"], ["comment_withdrawn", "c"],
    ]);
    expect(commentsChanges(before, before)).toEqual([]);
  });

  test("of likes: by target and reaction", () => {
    const counters = { views: 1, shares: 0 };
    const before = { targets: { post: { like: { count: 1, mine: false } } }, counters };
    const after = { targets: { post: { like: { count: 2, mine: true } }, x: { "🎉": { count: 1, mine: false } } }, counters };
    expect(likesChanges(before, after)).toEqual([
      { type: "reactions_changed", target: "post", reaction: "like", before: 1, after: 2, mine: true },
      { type: "reactions_changed", target: "x", reaction: "🎉", before: 0, after: 1, mine: false },
    ]);
  });

  test("of a post and of a space", () => {
    const before: PostView = { author: null, created: null, status: "published", title: "", body: "", spans: [], tags: ["a"], editors: [] };
    const after: PostView = { ...before, author: "ada", title: "Hi", tags: ["b"] };
    expect(postChanges(before, after).map(({ type }) => type)).toEqual(["post_created", "title_changed", "tag_added", "tag_removed"]);
    const ada = { user: "ada", role: "", active: true, since: 0, devices: 1, says: {} };
    const space = { phase: "inside", members: [ada], lastSeen: {} } as const;
    expect(spaceChanges(space, { ...space, members: [{ ...ada, user: "bob" }] }).map(({ type }) => type)).toEqual(["member_joined", "member_left"]);
  });
});

test("a deleted comment stays in the thread only above an answer", () => {
  const gone = { deleted: 9, body: null };
  const thread = [
    comment("a", gone), comment("b", { depth: 1, parent: "a" }), comment("c", { depth: 1, parent: "a", ...gone }),
    comment("d", { depth: 2, parent: "c", ...gone }), comment("e", gone), comment("f"),
  ];
  expect(shownThread(thread).map(({ comment, to }) => [comment.id, to])).toEqual([["a", null], ["b", "ada"], ["f", null]]);
});

test("a text is cut where selections begin and end, and they are kept within it", () => {
  const pieces = cut("abc\r\ndef", [
    { device: 1, user: "bob", anchor: 1, head: 5 }, { device: 2, user: "cy", anchor: 99, head: 99 },
  ]);
  expect(pieces.map(({ text, within, carets }) => [text, within.join(), carets.map(({ user }) => user).join()])).toEqual([
    ["a", "", ""], ["bc\n", "bob", ""], ["def", "", "bob"], ["", "", "cy"],
  ]);
});
