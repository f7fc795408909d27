// @vitest-environment jsdom
/** A text field on a shared text: what the user does is read off it, what others do is put in around the caret. */

import { afterEach, describe, expect, test } from "vitest";

import { apply, ofSplice, toSplices } from "../../ts/ot.js";
import { difference, positionIn, positionShown, shown } from "../../ts/react/text/edits.js";
import { bindTextarea, type FieldSelection } from "../../ts/react/text/textarea.js";
import type { Splice, TextBinding } from "../../ts/types.js";
import { random, randomOp, randomText, type Pick } from "../support/random.js";

/** A shared text in one place: what the field hands over is in it at once. */
class Shared implements TextBinding {
  readonly listeners = new Set<(splices: readonly Splice[], turned: boolean) => void>();
  flushes = 0;
  /** What somebody does as soon as an edit is handed over, on the spot. */
  during: (() => void) | undefined;
  constructor(public text: string) {}

  onSplices(listener: (splices: readonly Splice[], turned: boolean) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  splice(index: number, deleted: number, inserted: string): void {
    this.change(index, deleted, inserted);
    const { during } = this;
    this.during = undefined;
    during?.();
  }
  private change(index: number, deleted: number, inserted: string): void {
    const next = apply(this.text, ofSplice({ index, deleted, inserted }));
    if (next === undefined) throw new Error(`${index} ${deleted} is not in a text of ${this.text.length}`);
    this.text = next;
  }
  flush(): void { this.flushes += 1; }
  close(): void {}

  remote(...splices: Splice[]): void {
    for (const { index, deleted, inserted } of splices) this.change(index, deleted, inserted);
    for (const listener of [...this.listeners]) listener(splices, false);
  }
}

function begin(text: string) {
  const field = document.body.appendChild(document.createElement("textarea"));
  const shared = new Shared(text);
  const seen = { undo: 0, redo: 0, typed: 0, selection: null as FieldSelection | null };
  const bound = bindTextarea(field, shared, {
    changed: () => {}, typed: () => { seen.typed += 1; }, selected: (selection) => { seen.selection = selection; },
    undo: () => { seen.undo += 1; }, redo: () => { seen.redo += 1; },
  });
  field.focus();
  const type = (value: string, caret: number) => {
    field.value = value;
    field.setSelectionRange(caret, caret);
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  };
  return { field, shared, seen, bound, type };
}

afterEach(() => document.body.replaceChildren());

describe("what an input did", () => {
  test.each([
    ["a letter among the same", "aaa", "aaaa", 2, { index: 1, deleted: 0, inserted: "a" }],
    ["backspace among the same", "aaa", "aa", 1, { index: 1, deleted: 1, inserted: "" }],
    ["a word that was corrected", "teh cat", "the cat", 3, { index: 1, deleted: 2, inserted: "he" }],
    ["an emoji for another", "x😀y", "x😁y", 3, { index: 1, deleted: 2, inserted: "😁" }],
    ["everything deleted", "abc", "", 0, { index: 0, deleted: 3, inserted: "" }],
  ])("%s", (_what, before, after, caret, splice) => {
    expect(difference(before, after, caret)).toEqual(splice);
  });

  test("is nothing if nothing is different", () => {
    expect(difference("abc", "abc", 1)).toBeNull();
  });
});

test("positions are those of the shared text, whatever its line breaks", () => {
  const text = "a\r\nb\rc\n";
  expect(shown(text)).toBe("a\nb\nc\n");
  for (const [inField, inText] of [[0, 0], [1, 1], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7]] as const) {
    expect(positionIn(text, inField)).toBe(inText);
    expect(positionShown(text, inText)).toBe(inField);
  }
});

test("others’ edits leave the caret and the selection where they are in the text", () => {
  const { field, shared } = begin("hello world");
  field.setSelectionRange(6, 11, "backward");
  shared.remote({ index: 0, deleted: 0, inserted: ">> " });
  expect([field.value, field.selectionStart, field.selectionEnd, field.selectionDirection]).toEqual([">> hello world", 9, 14, "backward"]);
  shared.remote({ index: 14, deleted: 0, inserted: "!" }, { index: 0, deleted: 3, inserted: "" });
  expect([field.value, field.selectionStart, field.selectionEnd]).toEqual(["hello world!", 6, 11]);
});

test("while something is composed others’ edits wait, and then both are there", () => {
  const { field, shared } = begin("ab");
  field.setSelectionRange(1, 1);
  field.dispatchEvent(new CompositionEvent("compositionstart"));
  field.value = "akb";
  field.setSelectionRange(2, 2);
  field.dispatchEvent(new InputEvent("input", { bubbles: true, isComposing: true }));
  shared.remote({ index: 0, deleted: 0, inserted: "12" });
  expect(field.value).toBe("akb");
  expect(shared.text).toBe("12ab");
  field.value = "aかb";
  field.setSelectionRange(2, 2);
  field.dispatchEvent(new CompositionEvent("compositionend"));
  expect(shared.text).toBe("12aかb");
  expect([field.value, field.selectionStart]).toEqual(["12aかb", 4]);
});

test("undo and redo are the document’s, by key and by menu", () => {
  const { field, shared, seen } = begin("x");
  const key = (init: KeyboardEventInit) => field.dispatchEvent(new KeyboardEvent("keydown", { cancelable: true, bubbles: true, ...init }));
  expect(key({ key: "z", ctrlKey: true })).toBe(false);
  expect(key({ key: "Z", metaKey: true, shiftKey: true })).toBe(false);
  expect(key({ key: "y", ctrlKey: true })).toBe(false);
  expect(key({ key: "z" })).toBe(true);
  for (const inputType of ["historyUndo", "historyRedo"]) {
    expect(field.dispatchEvent(new InputEvent("beforeinput", { inputType, cancelable: true, bubbles: true }))).toBe(false);
  }
  expect([seen.undo, seen.redo, shared.flushes]).toEqual([2, 3, 5]);
});

test("closing hands over what was typed, and lets go of everything", () => {
  const { field, shared, bound, seen } = begin("a");
  field.value = "ab";
  bound.close();
  expect(shared.text).toBe("ab");
  expect(shared.listeners.size).toBe(0);
  const before = seen.typed;
  field.value = "abc";
  field.dispatchEvent(new InputEvent("input"));
  expect([shared.text, seen.typed]).toEqual(["ab", before]);
});

/** Any text, with all kinds of line breaks. */
function someText(pick: Pick): string {
  return [randomText(pick), randomText(pick)].join(["\r\n", "\r", "\n", ""][pick(4)]);
}

test("whatever both sides do, the field shows the shared text", () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const pick = random(seed);
    const { field, shared, type } = begin(someText(pick));
    for (let step = 0; step < 20; step += 1) {
      if (pick(3) === 0) shared.during = () => shared.remote(...toSplices(randomOp(pick, shared.text)));
      switch (pick(4)) {
        case 0: {
          const [from, to] = [pick(field.value.length + 1), pick(field.value.length + 1)].sort((a, b) => a - b) as [number, number];
          const put = randomText(pick, 3);
          type(field.value.slice(0, from) + put + field.value.slice(to), from + put.length);
          break;
        }
        case 1:
          shared.remote(...toSplices(randomOp(pick, shared.text)));
          break;
        case 2:
          field.dispatchEvent(new CompositionEvent("compositionstart"));
          field.value = `${field.value}か`;
          field.setSelectionRange(field.value.length, field.value.length);
          field.dispatchEvent(new InputEvent("input", { isComposing: true }));
          break;
        default:
          field.dispatchEvent(new CompositionEvent("compositionend"));
      }
    }
    field.dispatchEvent(new CompositionEvent("compositionend"));
    expect(field.value, `seed ${seed}`).toBe(shown(shared.text));
    document.body.replaceChildren();
  }
});
