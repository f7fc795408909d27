/** Keeps an editor and a shared text the same: each side's edits go to the other, in order. */
import { Annotation, ChangeSet, EditorState, Prec, Transaction, type Extension } from "@codemirror/state";
import { EditorView, ViewPlugin, keymap, type ViewUpdate } from "@codemirror/view";
import type { RemoteSelection, Splice, Store, TextBinding } from "../types.js";
import { remoteSelections } from "./selections.js";

/** On transactions that bring what others did. */
const remote = Annotation.define<boolean>();

/** Whether a transaction brings what others did, or an undo. */
export function isRemote(transaction: Transaction): boolean {
  return transaction.annotation(remote) === true;
}

export interface LocalSelection {
  readonly anchor: number;
  readonly head: number;
}

export interface SynclineTextOptions {
  /** Others' carets, such as `post.selections("body")`. */
  readonly selections?: Store<readonly RemoteSelection[]>;
  /** Shows others where this user is, such as `(at) => post.select("body", at)`; `null` without the focus. */
  readonly select?: (selection: LocalSelection | null) => void;
  /** The document's undo and redo, such as the post itself. Leave CodeMirror's `history()` out then. */
  readonly history?: { undo(): unknown; redo(): unknown };
  /** The user has edited, such as `() => space.setTyping(post.address, true)`. */
  readonly typed?: () => void;
}

/**
 * Ties an editor to a shared text. Begin with its text: `EditorState.create({ doc: binding.text, extensions:
 * [synclineText(binding, …)] })`; what came in between is caught up with. The binding stays the caller's to close.
 */
export function synclineText(binding: TextBinding, options: SynclineTextOptions = {}): Extension {
  const { history, selections } = options;
  const plugin = ViewPlugin.define((view) => new Tie(view, binding, options));
  const turn = (which: "undo" | "redo") => () => {
    if (history === undefined) return false;
    binding.flush();
    history[which]();
    return true;
  };
  return [
    // A position counts the same on both sides only if a line break is what the text has there.
    EditorState.lineSeparator.of("\n"),
    plugin,
    selections === undefined ? [] : remoteSelections(selections),
    history === undefined ? [] : Prec.high([
      keymap.of([
        { key: "Mod-z", run: turn("undo"), preventDefault: true },
        { key: "Mod-y", mac: "Mod-Shift-z", run: turn("redo"), preventDefault: true },
        { key: "Mod-Shift-z", run: turn("redo"), preventDefault: true },
      ]),
      EditorView.domEventHandlers({
        beforeinput: (event) => {
          const which = { historyUndo: "undo", historyRedo: "redo" }[event.inputType] as "undo" | "redo" | undefined;
          if (which === undefined) return false;
          event.preventDefault();
          return turn(which)();
        },
      }),
    ]),
  ];
}

class Tie {
  private readonly stop: () => void;
  private updating = false;
  private waiting: Splice[] = [];
  private closed = false;

  constructor(
    private readonly view: EditorView,
    private readonly binding: TextBinding,
    private readonly options: SynclineTextOptions,
  ) {
    this.stop = binding.onSplices((splices) => this.hear(splices));
    // An editor can't be changed while it is made.
    queueMicrotask(() => this.catchUp());
  }

  update(update: ViewUpdate): void {
    this.updating = true;
    try {
      for (const transaction of update.transactions) {
        if (transaction.docChanged && !isRemote(transaction)) this.send(transaction.changes);
      }
    } finally {
      this.updating = false;
    }
    if (update.docChanged && update.transactions.some((one) => one.docChanged && !isRemote(one))) this.options.typed?.();
    if (update.selectionSet || update.docChanged || update.focusChanged) this.tell();
    if (update.focusChanged && !this.view.hasFocus) this.binding.flush();
  }

  destroy(): void {
    this.closed = true;
    this.stop();
    this.binding.flush();
    this.options.select?.(null);
  }

  private send(changes: ChangeSet): void {
    changes.iterChanges((fromA, toA, fromB, _toB, inserted) => {
      // `fromB` counts in the text as the changes before this one left it.
      this.binding.splice(fromB, toA - fromA, inserted.sliceString(0, inserted.length, "\n"));
    }, true);
  }

  private tell(): void {
    const { select } = this.options;
    if (select === undefined) return;
    const { anchor, head } = this.view.state.selection.main;
    select(this.view.hasFocus ? { anchor, head } : null);
  }

  private hear(splices: readonly Splice[]): void {
    if (!this.updating) return this.show(splices);
    // They come from within an update of this editor, which can't be changed before that is over.
    this.waiting.push(...splices);
    queueMicrotask(() => {
      if (!this.closed) this.show(this.waiting.splice(0));
    });
  }

  private show(splices: readonly Splice[]): void {
    if (splices.length === 0) return;
    let changes = ChangeSet.empty(this.view.state.doc.length);
    for (const { index, deleted, inserted } of splices) {
      changes = changes.compose(ChangeSet.of({ from: index, to: index + deleted, insert: inserted }, changes.newLength, "\n"));
    }
    this.dispatch(changes);
  }

  /** Others may have written between the making of the editor's state and this. */
  private catchUp(): void {
    const { state } = this.view;
    const [has, wants] = [state.sliceDoc(), this.binding.text];
    if (this.closed || has === wants) return;
    let [head, tail] = [0, 0];
    const shorter = Math.min(has.length, wants.length);
    while (head < shorter && has[head] === wants[head]) head += 1;
    while (tail < shorter - head && has[has.length - 1 - tail] === wants[wants.length - 1 - tail]) tail += 1;
    this.dispatch(ChangeSet.of({ from: head, to: has.length - tail, insert: wants.slice(head, wants.length - tail) }, has.length, "\n"));
  }

  private dispatch(changes: ChangeSet): void {
    this.view.dispatch({
      changes,
      annotations: [remote.of(true), Transaction.remote.of(true), Transaction.addToHistory.of(false)],
      // What others did holds, whatever this editor allows its own user.
      filter: false,
    });
  }
}
