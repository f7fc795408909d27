/** Random choices that a seed repeats. */

import { compose, ofSplice, type Op } from "../../ts/ot.js";

export type Pick = (below: number) => number;

export function random(seed: number): Pick {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const LETTERS = ["a", "b", "c", " ", "é", "😀", "\n"];

export function randomText(pick: Pick, most = 12): string {
  return Array.from({ length: pick(most + 1) }, () => LETTERS[pick(LETTERS.length)]).join("");
}

/** A place between two characters of a text, at or before the one that is given. */
export function between(text: string, index: number): number {
  return (text.codePointAt(index - 1) ?? 0) > 0xffff ? index - 1 : index;
}

export function randomOp(pick: Pick, text: string): Op {
  let op: Op = [];
  let length = text.length;
  for (let edits = 1 + pick(3); edits > 0; edits--) {
    const index = pick(length + 1);
    const deleted = pick(Math.min(length - index, 4) + 1);
    const inserted = randomText(pick, 3);
    op = compose(op, ofSplice({ index, deleted, inserted }));
    length += inserted.length - deleted;
  }
  return op;
}
