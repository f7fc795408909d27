/** Others' carets and selections, drawn in an editor. */
import { RangeSet, StateEffect, StateField, type Extension, type Range } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin, WidgetType, type DecorationSet } from "@codemirror/view";
import type { RemoteSelection, Store } from "../types.js";

const placed = StateEffect.define<readonly RemoteSelection[]>();

class Caret extends WidgetType {
  constructor(private readonly user: string, private readonly place: number) { super(); }

  override eq(other: Caret): boolean {
    return this.user === other.user && this.place === other.place;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "cm-syncline-caret";
    caret.style.setProperty("--_hue", String(hueOf(this.user)));
    caret.setAttribute("aria-hidden", "true");
    const flag = caret.appendChild(document.createElement("span"));
    flag.className = "cm-syncline-flag";
    flag.textContent = this.user;
    return caret;
  }

  override ignoreEvent(): boolean { return true; }
}

/** The same hue as in the components of `syncline/react`. */
function hueOf(user: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < user.length; at += 1) hash = Math.imul(hash ^ user.charCodeAt(at), 0x01000193);
  return (hash >>> 0) % 360;
}

const drawn = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(set, transaction) {
    let next = set.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (effect.is(placed)) next = decorations(effect.value, transaction.newDoc.length);
    }
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

function decorations(selections: readonly RemoteSelection[], length: number): DecorationSet {
  const ranges: Range<Decoration>[] = [];
  for (const { user, anchor, head } of selections) {
    // They may be of a text that this editor does not show yet.
    const [a, h] = [Math.min(anchor, length), Math.min(head, length)];
    if (a !== h) {
      const attributes = { style: `--_hue: ${hueOf(user)}` };
      ranges.push(Decoration.mark({ class: "cm-syncline-selection", attributes }).range(Math.min(a, h), Math.max(a, h)));
    }
    ranges.push(Decoration.widget({ widget: new Caret(user, h), side: 1 }).range(h));
  }
  return RangeSet.of(ranges, true);
}

/** Draws what a store says of others' selections. Part of `synclineText`; alone for editors that are tied otherwise. */
export function remoteSelections(selections: Store<readonly RemoteSelection[]>): Extension {
  return [
    drawn,
    ViewPlugin.define((view) => {
      let closed = false;
      let waiting = false;
      // Never from within an update, which a change of the text may be.
      const show = () => {
        if (waiting) return;
        waiting = true;
        queueMicrotask(() => {
          waiting = false;
          if (!closed) view.dispatch({ effects: placed.of(selections.getSnapshot()) });
        });
      };
      const stop = selections.subscribe(show);
      show();
      return {
        destroy() {
          closed = true;
          stop();
        },
      };
    }),
    look,
  ];
}

const look = EditorView.baseTheme({
  ".cm-syncline-caret": {
    position: "relative",
    display: "inline-block",
    width: "2px",
    height: "1.2em",
    margin: "-0.1em -1px",
    verticalAlign: "text-bottom",
    pointerEvents: "none",
  },
  "&light .cm-syncline-caret, &light .cm-syncline-flag": { background: "oklch(50% 0.13 var(--_hue))" },
  "&dark .cm-syncline-caret, &dark .cm-syncline-flag": { background: "oklch(76% 0.12 var(--_hue))" },
  ".cm-syncline-flag": {
    position: "absolute",
    zIndex: "2",
    bottom: "100%",
    left: "-1px",
    padding: "1px 6px",
    borderRadius: "4px 4px 4px 0",
    font: "600 11px/1.4 system-ui, sans-serif",
    whiteSpace: "nowrap",
  },
  "&light .cm-syncline-flag": { color: "#fff" },
  "&dark .cm-syncline-flag": { color: "#101316" },
  "&light .cm-syncline-selection": { background: "oklch(50% 0.13 var(--_hue) / 24%)" },
  "&dark .cm-syncline-selection": { background: "oklch(76% 0.12 var(--_hue) / 28%)" },
});
