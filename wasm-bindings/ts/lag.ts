/**
 * What an editor does not show yet of a shared text. While it is busy (something is composed in it, or it tells of an
 * edit of its own) others' edits wait here, and its own edits are handed over as they are after those.
 */

import { compose, ofSplices, toSplices, transform, type Op } from "./ot.js";
import type { Splice, TextBinding } from "./types.js";

export class Lag {
  /** Leads from the text that the editor shows to the shared one. */
  #waiting: Op;
  /** What is heard while an edit is handed over: the shared text may change on the spot. */
  #heard: Op[] | undefined;

  constructor(private readonly binding: TextBinding, waiting: Op = []) {
    this.#waiting = waiting;
  }

  /** Whether there is nothing to show. */
  get over(): boolean {
    return this.#waiting.length === 0;
  }

  /** Others' edits, which come after those that wait already. */
  hear(splices: readonly Splice[]): void {
    const op = ofSplices(splices);
    if (this.#heard === undefined) this.#waiting = compose(this.#waiting, op);
    else this.#heard.push(op);
  }

  /** Whether an edit is being handed over this moment. */
  get sending(): boolean {
    return this.#heard !== undefined;
  }

  /** Hands over an edit of the text that the editor showed before it. */
  send(edit: Op): void {
    let rest: Op;
    [rest, this.#waiting] = transform(edit, this.#waiting);
    this.#heard = [];
    try {
      for (;;) {
        const [first, ...others] = toSplices(rest);
        if (first === undefined) break;
        rest = ofSplices(others);
        this.binding.splice(first.index, first.deleted, first.inserted);
        for (const op of this.#heard.splice(0)) {
          let late: Op;
          [rest, late] = transform(rest, op);
          this.#waiting = compose(this.#waiting, late);
        }
      }
    } finally {
      this.#heard = undefined;
    }
  }

  /** What is to be shown now. */
  take(): Splice[] {
    const splices = toSplices(this.#waiting);
    this.#waiting = [];
    return splices;
  }
}
