/** Which comments of a thread are shown, and whom each answers. */
import type { Comment } from "../../../types.js";

export interface ShownComment {
  readonly comment: Comment;
  /** Whom it answers; `null` if it answers the post. */
  readonly to: string | null;
}

/** A deleted comment is shown only where an answer below it is. */
export function shownThread(thread: readonly Comment[]): readonly ShownComment[] {
  const authors = new Map(thread.map(({ id, author }) => [id, author]));
  const shown: ShownComment[] = [];
  // Backwards: what is below a comment has been seen when it is its turn.
  let below = -1;
  for (let at = thread.length - 1; at >= 0; at -= 1) {
    const comment = thread[at] as Comment;
    if (comment.deleted !== null && below <= comment.depth) continue;
    below = comment.depth;
    shown.push({ comment, to: comment.parent === null ? null : authors.get(comment.parent) ?? null });
  }
  return shown.reverse();
}
