/** Keeps an editor and a shared text the same: each side's edits go to the other, in order. */
import { Annotation, ChangeSet, EditorState, Prec, Transaction, type Extension } from "@codemirror/state";
import { EditorView, ViewPlugin, keymap, type ViewUpdate } from "@codemirror/view";
import { Lag } from "../lag.js";
import { diff, ofSplices } from "../ot.js";
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
  private readonly lag: Lag;
  private updating = false;
  private closed = false;

  constructor(
    private readonly view: EditorView,
    private readonly binding: TextBinding,
    private readonly options: SynclineTextOptions,
  ) {
    // Others may have written between the making of the editor's state and this.
    this.lag = new Lag(binding, diff(view.state.sliceDoc(), binding.text));
    this.stop = binding.onSplices((splices) => {
      this.lag.hear(splices);
      if (!this.updating) this.show();
    });
    this.soon();
  }

  update(update: ViewUpdate): void {
    const own = update.transactions.filter((one) => one.docChanged && !isRemote(one));
    // The shared text may change on the spot, and this editor can't before the update is over.
    this.updating = true;
    try {
      for (const { changes } of own) this.lag.send(ofSplices(splicesOf(changes)));
      if (update.focusChanged && !this.view.hasFocus) this.binding.flush();
    } finally {
      this.updating = false;
    }
    if (own.length > 0) this.options.typed?.();
    if (update.selectionSet || update.docChanged || update.focusChanged) this.tell();
    this.soon();
  }

  destroy(): void {
    this.closed = true;
    this.stop();
    this.binding.flush();
    this.options.select?.(null);
  }

  private tell(): void {
    const { select } = this.options;
    if (select === undefined) return;
    const { anchor, head } = this.view.state.selection.main;
    select(this.view.hasFocus ? { anchor, head } : null);
  }

  private soon(): void {
    if (!this.lag.over) queueMicrotask(() => this.show());
  }

  private show(): void {
    if (this.closed || this.lag.over) return;
    let changes = ChangeSet.empty(this.view.state.doc.length);
    for (const { index, deleted, inserted } of this.lag.take()) {
      changes = changes.compose(ChangeSet.of({ from: index, to: index + deleted, insert: inserted }, changes.newLength, "\n"));
    }
    this.dispatch(changes);
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

function splicesOf(changes: ChangeSet): Splice[] {
  const splices: Splice[] = [];
  changes.iterChanges((fromA, toA, fromB, _toB, inserted) => {
    // `fromB` counts in the text as the changes before this one left it.
    splices.push({ index: fromB, deleted: toA - fromA, inserted: inserted.sliceString(0, inserted.length, "\n") });
  }, true);
  return splices;
}
