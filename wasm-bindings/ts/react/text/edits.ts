/** Edits of a plain text as a text field sees them: what a user's input did, and where a caret goes. */
import type { Splice } from "../../types.js";

/**
 * What made `after` of `before`, as one replacement. `caret` is where the caret is now: of all replacements that fit,
 * the one that ends there is what the user did.
 */
export function difference(before: string, after: string, caret: number): Splice | null {
  if (before === after) return null;
  const shorter = Math.min(before.length, after.length);
  let tail = 0;
  const tailMax = Math.min(shorter, Math.max(0, after.length - caret));
  while (tail < tailMax && before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail)) tail += 1;
  let head = 0;
  while (head < shorter - tail && before.charCodeAt(head) === after.charCodeAt(head)) head += 1;
  // Neither end may lie within a character of two code units.
  if (splits(before, head) || splits(after, head)) head -= 1;
  if (splits(before, before.length - tail) || splits(after, after.length - tail)) tail -= 1;
  return { index: head, deleted: before.length - tail - head, inserted: after.slice(head, after.length - tail) };
}

function splits(text: string, at: number): boolean {
  return at > 0 && at < text.length
    && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800 && (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}

/** Where a position of the text before an edit is after it. What is put in right there comes after it. */
export function moved(position: number, { index, deleted, inserted }: Splice): number {
  if (position <= index) return position;
  if (position >= index + deleted) return position - deleted + inserted.length;
  return index;
}

export function applied(text: string, { index, deleted, inserted }: Splice): string {
  return text.slice(0, index) + inserted + text.slice(index + deleted);
}

/** A text as a text field shows it: each kind of line break is one `\n`. */
export function shown(text: string): string {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/** A position in {@link shown} text as one of the text itself. */
export function positionIn(text: string, position: number): number {
  if (!text.includes("\r")) return position;
  let at = 0;
  for (let count = 0; count < position && at < text.length; count += 1) at += text.startsWith("\r\n", at) ? 2 : 1;
  return at;
}

/** A position in a text as one of what is {@link shown} of it. */
export function positionShown(text: string, position: number): number {
  return text.includes("\r") ? shown(text.slice(0, position)).length : position;
}
