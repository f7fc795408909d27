/** The comments on a post: a thread in which only those that changed are made anew. */

import type { CommentsUpdate } from "../host/comments.js";
import { share } from "../share.js";
import type { Comment, Comments, CommentsView, Pending } from "../types.js";
import { Handle, type Parts } from "./handle.js";

const NONE: CommentsView = { count: 0, thread: [] };

export class CommentsHandle extends Handle<CommentsView> implements Comments {
  constructor(parts: Parts, address: string) {
    super(parts, address, NONE, reducer());
  }

  add(body: string, options: { parent?: string; id?: string } = {}): Pending {
    return this.command({ comments: { add: { body, ...options } } });
  }

  edit(id: string, body: string): Pending {
    return this.command({ comments: { edit: { id, body } } });
  }

  delete(id: string): Pending {
    return this.command({ comments: { delete: { id } } });
  }
}

/** Follows what the host says; for one store, of which it keeps the comments by id. */
export function reducer(): (old: CommentsView, told: unknown) => CommentsView {
  let byId = new Map<string, Comment>();
  return (old, told) => {
    const { all, comments, thread, pending } = told as CommentsUpdate;
    const known = byId;
    if (all) byId = new Map();
    const raw = new Map(comments);
    for (const [id, comment] of comments) if (comment === null) byId.delete(id);
    const unsent = new Set(pending);
    const shown = thread.flatMap(([id, depth]) => {
      const before = known.get(id);
      const told = raw.get(id);
      const source = told ?? before;
      if (!source) return [];
      const now = share(before, { ...source, depth, pending: unsent.has(id) } as Comment);
      byId.set(id, now);
      return [now];
    });
    const same = shown.length === old.thread.length && shown.every((comment, at) => comment === old.thread[at]);
    if (same) return old;
    return { count: shown.reduce((count, { deleted }) => count + (deleted === null ? 1 : 0), 0), thread: shown };
  };
}
