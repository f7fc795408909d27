/**
 * Ties a text field to a shared text. The field is the browser's own, so spelling, dictation, drag and drop and input
 * methods work as everywhere: what they did is read off the field after each input. Others' edits are put in around
 * the caret; while something is being composed they wait, because a change from outside would end the composition.
 */
import { Lag } from "../../lag.js";
import { ofSplice } from "../../ot.js";
import type { Splice, TextBinding } from "../../types.js";
import { applied, difference, moved, positionIn, positionShown, shown } from "./edits.js";

/** Where a selection was begun and where its moving end is, in positions of the shared text. */
export interface FieldSelection {
  readonly anchor: number;
  readonly head: number;
}

export interface FieldEvents {
  /** The text in the field is another. */
  changed(text: string): void;
  /** The user has edited. */
  typed(): void;
  /** The selection is another; `null` while the field has no focus. */
  selected(selection: FieldSelection | null): void;
  undo(): void;
  redo(): void;
}

export interface BoundField {
  /** Ends the binding; what was typed is handed over before. */
  close(): void;
}

/** `binding` stays the caller's to close. */
export function bindTextarea(field: HTMLTextAreaElement, binding: TextBinding, events: FieldEvents): BoundField {
  const state: State = { field, binding, events, known: binding.text, lag: new Lag(binding), composing: false, turning: false };
  field.value = shown(state.known);
  events.changed(state.known);

  const stop = binding.onSplices((splices, turned) => hear(state, splices, turned));
  const listening = new AbortController();
  const on = <K extends keyof HTMLElementEventMap>(name: K, listener: (event: HTMLElementEventMap[K]) => void) =>
    field.addEventListener(name, listener, { signal: listening.signal });

  on("compositionstart", () => { state.composing = true; });
  on("compositionend", () => {
    state.composing = false;
    settle(state);
  });
  on("beforeinput", (event) => {
    // The field's own history knows nothing of others' edits.
    if (event.inputType === "historyUndo" || event.inputType === "historyRedo") {
      event.preventDefault();
      turn(state, event.inputType === "historyUndo" ? "undo" : "redo");
    }
  });
  on("keydown", (event) => {
    const which = historyKey(event);
    if (which === undefined || event.isComposing) return;
    event.preventDefault();
    turn(state, which);
  });
  on("input", () => { if (!state.composing) settle(state); });
  on("blur", () => {
    // Some browsers end a composition without saying so when the field loses the focus.
    state.composing = false;
    settle(state);
    binding.flush();
    events.selected(null);
  });
  on("focus", () => tell(state));
  on("select", () => tell(state));
  document.addEventListener("selectionchange", () => {
    if (document.activeElement === field && !state.composing) tell(state);
  }, { signal: listening.signal });

  return {
    close() {
      state.composing = false;
      settle(state);
      binding.flush();
      listening.abort();
      stop();
    },
  };
}

interface State {
  readonly field: HTMLTextAreaElement;
  readonly binding: TextBinding;
  readonly events: FieldEvents;
  /** The shared text that the field shows, without what is typed and not read off yet. */
  known: string;
  /** Others' edits that the field does not show yet. */
  readonly lag: Lag;
  composing: boolean;
  /** Whether an undo or redo was asked for here: another tab may be the one to carry it out, so that it comes later. */
  turning: boolean;
}

/** Undo and redo as the platforms have them. */
export function historyKey(event: KeyboardEvent): "undo" | "redo" | undefined {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return undefined;
  const key = event.key.toLowerCase();
  if (key === "z") return event.shiftKey ? "redo" : "undo";
  return key === "y" && event.ctrlKey && !event.shiftKey ? "redo" : undefined;
}

function turn(state: State, which: "undo" | "redo"): void {
  settle(state);
  state.binding.flush();
  state.turning = true;
  state.events[which]();
}

/** Others' edits, or those of an undo. */
function hear(state: State, splices: readonly Splice[], turned: boolean): void {
  const { lag, composing } = state;
  const goThere = turned && state.turning && !composing && !lag.sending && lag.over;
  lag.hear(splices);
  if (turned) state.turning = false;
  // Before them an edit of the same moment, whose event has not come yet.
  if (!composing && !lag.sending) settle(state, goThere);
}

/** Reads off what the user did to the field and hands it over, then shows what came meanwhile. */
function settle(state: State, goThere = false): void {
  const { field, events, lag } = state;
  const edit = difference(shown(state.known), field.value, field.selectionEnd);
  if (edit !== null) {
    const own = inText(state.known, edit);
    state.known = applied(state.known, own);
    lag.send(ofSplice(own));
    state.turning = false;
    events.typed();
  }
  if (!lag.over) show(state, lag.take(), goThere);
  else if (edit !== null) {
    events.changed(state.known);
    tell(state);
  }
}

/** An edit of the field as one of the shared text, which may have other line breaks. */
function inText(text: string, { index, deleted, inserted }: Splice): Splice {
  const start = positionIn(text, index);
  return { index: start, deleted: positionIn(text, index + deleted) - start, inserted };
}

/** Puts edits into the field; the selection and what is in view stay where they are in the text, or go to where the edits are. */
function show(state: State, splices: readonly Splice[], goThere: boolean): void {
  const { field } = state;
  let { anchor, head } = selectionOf(state);
  for (const splice of splices) {
    state.known = applied(state.known, splice);
    if (goThere) anchor = head = splice.index + splice.inserted.length;
    else [anchor, head] = [moved(anchor, splice), moved(head, splice)];
  }
  const next = shown(state.known);
  if (field.value !== next) {
    const { scrollTop } = field;
    field.value = next;
    const [from, to] = [positionShown(state.known, anchor), positionShown(state.known, head)];
    field.setSelectionRange(Math.min(from, to), Math.max(from, to), from > to ? "backward" : "forward");
    field.scrollTop = scrollTop;
  }
  state.events.changed(state.known);
  tell(state);
}

function selectionOf({ field, known }: State): FieldSelection {
  const [start, end] = [positionIn(known, field.selectionStart), positionIn(known, field.selectionEnd)];
  return field.selectionDirection === "backward" ? { anchor: end, head: start } : { anchor: start, head: end };
}

function tell(state: State): void {
  const { field, events } = state;
  if (document.activeElement === field) events.selected(selectionOf(state));
}
