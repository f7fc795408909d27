/**
 * What happened between two snapshots. Snapshots share what did not change, so comparing them costs as much as what
 * did; and it tells the same in every tab, whichever holds the connection.
 */
import type { Comment, CommentsView, FeedView, Json, LikesView, Member, PostSummary, PostView, SpaceView } from "../types.js";

export type Change =
  | { readonly type: "post_created"; readonly author: string }
  | { readonly type: "title_changed" | "body_changed"; readonly before: string; readonly after: string }
  | { readonly type: "status_changed"; readonly before: string; readonly after: string }
  | { readonly type: "tag_added" | "tag_removed"; readonly tag: string }
  | { readonly type: "editor_added" | "editor_removed"; readonly user: string }
  | { readonly type: "reactions_changed"; readonly target: string; readonly reaction: string; readonly before: number; readonly after: number; readonly mine: boolean }
  | { readonly type: "counter_changed"; readonly counter: "views" | "shares"; readonly before: number; readonly after: number }
  | { readonly type: "comment_added" | "comment_edited" | "comment_deleted" | "comment_withdrawn"; readonly comment: Comment }
  | { readonly type: "json_changed"; readonly before: Json; readonly after: Json }
  | { readonly type: "member_joined" | "member_left" | "member_changed"; readonly member: Member }
  | { readonly type: "post_listed" | "post_moved" | "post_unlisted"; readonly post: PostSummary };

type Differ<T> = (before: T, after: T) => Change[];

export const postChanges: Differ<PostView> = (before, after) => {
  const changes: Change[] = [];
  if (before.author === null && after.author !== null) changes.push({ type: "post_created", author: after.author });
  if (before.title !== after.title) changes.push({ type: "title_changed", before: before.title, after: after.title });
  if (before.body !== after.body) changes.push({ type: "body_changed", before: before.body, after: after.body });
  if (before.status !== after.status) changes.push({ type: "status_changed", before: before.status, after: after.status });
  between(before.tags, after.tags, (tag) => changes.push({ type: "tag_added", tag }), (tag) => changes.push({ type: "tag_removed", tag }));
  between(before.editors, after.editors, (user) => changes.push({ type: "editor_added", user }), (user) => changes.push({ type: "editor_removed", user }));
  return changes;
};

function between(before: readonly string[], after: readonly string[], added: (one: string) => void, removed: (one: string) => void): void {
  if (before === after) return;
  const [old, fresh] = [new Set(before), new Set(after)];
  for (const one of fresh) if (!old.has(one)) added(one);
  for (const one of old) if (!fresh.has(one)) removed(one);
}

export const likesChanges: Differ<LikesView> = (before, after) => {
  const changes: Change[] = [];
  if (before.targets !== after.targets) {
    for (const target of keys(before.targets, after.targets)) {
      const [old = {}, fresh = {}] = [before.targets[target], after.targets[target]];
      if (old === fresh) continue;
      for (const reaction of keys(old, fresh)) {
        const [was, is] = [old[reaction]?.count ?? 0, fresh[reaction]?.count ?? 0];
        const mine = fresh[reaction]?.mine ?? false;
        if (was !== is) changes.push({ type: "reactions_changed", target, reaction, before: was, after: is, mine });
      }
    }
  }
  for (const counter of ["views", "shares"] as const) {
    const [was, is] = [before.counters[counter], after.counters[counter]];
    if (was !== is) changes.push({ type: "counter_changed", counter, before: was, after: is });
  }
  return changes;
};

function keys(before: object, after: object): Set<string> {
  return new Set([...Object.keys(before), ...Object.keys(after)]);
}

export const commentsChanges: Differ<CommentsView> = (before, after) => {
  if (before.thread === after.thread) return [];
  const changes: Change[] = [];
  const old = new Map(before.thread.map((comment) => [comment.id, comment]));
  for (const comment of after.thread) {
    const was = old.get(comment.id);
    old.delete(comment.id);
    if (was === undefined) changes.push({ type: "comment_added", comment });
    else if (was === comment) continue;
    else if (was.deleted === null && comment.deleted !== null) changes.push({ type: "comment_deleted", comment });
    else if (was.body !== comment.body) changes.push({ type: "comment_edited", comment });
  }
  // Rolled back, or lost by the server.
  for (const comment of old.values()) changes.push({ type: "comment_withdrawn", comment });
  return changes;
};

export const jsonChanges: Differ<Json> = (before, after) =>
  before === after ? [] : [{ type: "json_changed", before, after }];

export const spaceChanges: Differ<SpaceView> = (before, after) =>
  listed(before.members, after.members, ({ user }) => user, "member_joined", "member_left", "member_changed", "member");

export const feedChanges: Differ<FeedView> = (before, after) =>
  listed(before.posts, after.posts, ({ id }) => id, "post_listed", "post_unlisted", "post_moved", "post");

function listed<T>(
  before: readonly T[], after: readonly T[], name: (one: T) => string,
  added: Change["type"], removed: Change["type"], changed: Change["type"], field: string,
): Change[] {
  if (before === after) return [];
  const changes: object[] = [];
  const old = new Map(before.map((one) => [name(one), one]));
  for (const one of after) {
    const was = old.get(name(one));
    old.delete(name(one));
    if (was === undefined) changes.push({ type: added, [field]: one });
    else if (was !== one) changes.push({ type: changed, [field]: one });
  }
  for (const one of old.values()) changes.push({ type: removed, [field]: one });
  return changes as Change[];
}
