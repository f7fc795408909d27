/**
 * Operational transformation of plain text for two sides, of which one (the host) decides the order. An operation
 * goes through a text from the left: a positive number keeps so many UTF-16 code units, a negative one removes
 * them, a string is put in. What is left at the end is kept.
 */

import type { Splice } from "./types.js";

export type Op = readonly (number | string)[];

/** Puts an operation together in its normal form: neighbours joined, insertions before removals. */
class Builder {
  readonly parts: (number | string)[] = [];

  keep(length: number): void {
    if (length <= 0) return;
    const last = this.parts.at(-1);
    if (typeof last === "number" && last > 0) this.parts[this.parts.length - 1] = last + length;
    else this.parts.push(length);
  }

  remove(length: number): void {
    if (length <= 0) return;
    const last = this.parts.at(-1);
    if (typeof last === "number" && last < 0) this.parts[this.parts.length - 1] = last - length;
    else this.parts.push(-length);
  }

  insert(text: string): void {
    if (text === "") return;
    const { parts } = this;
    const last = parts.at(-1);
    const before = parts.at(-2);
    if (typeof last === "string") parts[parts.length - 1] = last + text;
    else if (last !== undefined && last < 0) {
      if (typeof before === "string") parts[parts.length - 2] = before + text;
      else parts.splice(-1, 0, text);
    } else parts.push(text);
  }

  done(): Op {
    const last = this.parts.at(-1);
    if (typeof last === "number" && last > 0) this.parts.pop();
    return this.parts;
  }
}

/** Walks an operation in pieces of a wanted length; past its end everything is kept. */
class Walker {
  #at = 0;
  #used = 0;
  constructor(private readonly op: Op) {}

  get over(): boolean {
    return this.#at >= this.op.length;
  }

  peek(): number | string {
    const part = this.op[this.#at];
    if (part === undefined) return Infinity;
    if (typeof part === "string") return part.slice(this.#used);
    return part > 0 ? part - this.#used : part + this.#used;
  }

  take(length: number): void {
    const part = this.op[this.#at];
    if (part === undefined) return;
    this.#used += length;
    if (this.#used >= (typeof part === "string" ? part.length : Math.abs(part))) {
      this.#at++;
      this.#used = 0;
    }
  }
}

export function ofSplice({ index, deleted, inserted }: Splice): Op {
  const builder = new Builder();
  builder.keep(index);
  builder.insert(inserted);
  builder.remove(deleted);
  return builder.done();
}

export function ofSplices(splices: readonly Splice[]): Op {
  return splices.map(ofSplice).reduce(compose, []);
}

/** The same as replacements, each in positions of the text as the ones before left it. */
export function toSplices(op: Op): Splice[] {
  const splices: Splice[] = [];
  let index = 0;
  for (let at = 0; at < op.length; at++) {
    const part = op[at]!;
    if (typeof part === "number" && part > 0) {
      index += part;
      continue;
    }
    const next = op[at + 1];
    const inserted = typeof part === "string" ? part : "";
    let deleted = typeof part === "number" ? -part : 0;
    if (typeof part === "string" && typeof next === "number" && next < 0) {
      deleted = -next;
      at++;
    }
    splices.push({ index, deleted, inserted });
    index += inserted.length;
  }
  return splices;
}

/** Carries an operation out; `undefined` if it does not fit the text. */
export function apply(text: string, op: Op): string | undefined {
  let at = 0;
  let out = "";
  for (const part of op) {
    if (typeof part === "string") out += part;
    else {
      if (part > 0) out += text.slice(at, at + part);
      at += Math.abs(part);
      if (at > text.length) return undefined;
    }
  }
  return out + text.slice(at);
}

/** The operation that takes `op` back after it was carried out on `text`. */
export function invert(text: string, op: Op): Op {
  const builder = new Builder();
  let at = 0;
  for (const part of op) {
    if (typeof part === "string") builder.remove(part.length);
    else if (part > 0) {
      builder.keep(part);
      at += part;
    } else {
      builder.insert(text.slice(at, at - part));
      at -= part;
    }
  }
  return builder.done();
}

/** One operation that does what `first` and then `second` do. */
export function compose(first: Op, second: Op): Op {
  const builder = new Builder();
  const a = new Walker(first);
  const b = new Walker(second);
  while (!a.over || !b.over) {
    const x = a.peek();
    const y = b.peek();
    if (typeof x === "number" && x < 0) {
      builder.remove(-x);
      a.take(-x);
    } else if (typeof y === "string") {
      builder.insert(y);
      b.take(y.length);
    } else {
      const length = Math.min(typeof x === "string" ? x.length : x, Math.abs(y));
      if (y > 0) {
        if (typeof x === "string") builder.insert(x.slice(0, length));
        else builder.keep(length);
      } else if (typeof x === "number") builder.remove(length);
      a.take(length);
      b.take(length);
    }
  }
  return builder.done();
}

/**
 * Two operations on the same text: `[a', b']` so that `a` then `b'` gives what `b` then `a'` gives. Where both put
 * something in the same place, what `a` put in comes first.
 */
export function transform(a: Op, b: Op): [Op, Op] {
  const left = new Builder();
  const right = new Builder();
  const x = new Walker(a);
  const y = new Walker(b);
  while (!x.over || !y.over) {
    const p = x.peek();
    const q = y.peek();
    if (typeof p === "string") {
      left.insert(p);
      right.keep(p.length);
      x.take(p.length);
    } else if (typeof q === "string") {
      left.keep(q.length);
      right.insert(q);
      y.take(q.length);
    } else {
      const length = Math.min(Math.abs(p), Math.abs(q));
      if (p > 0 && q > 0) {
        left.keep(length);
        right.keep(length);
      } else if (p < 0 && q > 0) left.remove(length);
      else if (p > 0 && q < 0) right.remove(length);
      x.take(length);
      y.take(length);
    }
  }
  return [left.done(), right.done()];
}

/** One replacement that makes `next` of `old`, as short as a common beginning and end allow. */
export function diff(old: string, next: string): Op {
  if (old === next) return [];
  const most = Math.min(old.length, next.length);
  let start = 0;
  while (start < most && old.charCodeAt(start) === next.charCodeAt(start)) start++;
  // A pair of surrogates is not torn apart.
  if (isHigh(old, start - 1)) start--;
  let end = 0;
  while (end < most - start && old.charCodeAt(old.length - 1 - end) === next.charCodeAt(next.length - 1 - end)) end++;
  if (end > 0 && isLow(old, old.length - end)) end--;
  return ofSplice({
    index: start,
    deleted: old.length - end - start,
    inserted: next.slice(start, next.length - end),
  });
}

function isHigh(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800;
}

function isLow(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}
