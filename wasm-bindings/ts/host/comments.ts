/** What a watcher of comments is told: those that changed, the order of the thread, and which are pending. */

import type { Comment } from "../types.js";
import type { Engine } from "./engine.js";

export interface CommentsUpdate {
  /** Whether `comments` has all that there are. */
  readonly all: boolean;
  readonly comments: readonly (readonly [id: string, comment: Omit<Comment, "pending"> | null])[];
  readonly thread: readonly (readonly [id: string, depth: number])[];
  readonly pending: readonly string[];
}

/** `changed` are those that may have; `undefined` stands for all. */
export function readComments(engine: Engine, address: string, changed: ReadonlySet<string> | undefined): CommentsUpdate | undefined {
  const order = engine.thread(address);
  if (order === undefined) return undefined;
  const thread = JSON.parse(order) as [string, number][];
  const ids = changed ?? thread.map(([id]) => id);
  const comments: [string, Omit<Comment, "pending"> | null][] = [];
  for (const id of ids) {
    const comment = engine.comment(address, id);
    comments.push([id, comment === undefined ? null : JSON.parse(comment) as Omit<Comment, "pending">]);
  }
  const pending = (JSON.parse(engine.pending(address)) as { command: unknown }[]).flatMap(({ command }) => concerned(command));
  return { all: changed === undefined, comments, thread, pending };
}

/** The comment that a command is about. */
function concerned(command: unknown): string[] {
  const inner = (command as { comments?: Record<string, { id?: unknown }> }).comments ?? {};
  return Object.values(inner).flatMap(({ id }) => (typeof id === "string" ? [id] : []));
}
