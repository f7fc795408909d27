/** A post's marks (bold, italic, link, code) shown in an editor of its body, and commands that set them. */
import { Facet, StateEffect, StateField, type Extension, type Range } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin, type Command, type DecorationSet, type KeyBinding, type ViewUpdate } from "@codemirror/view";
import type { MarkName, Post, Span, TextBinding } from "../types.js";

export interface MarksOptions {
  /** What the editor is tied with: what was typed is handed over before a mark is set on it. */
  readonly binding?: TextBinding;
  /** Asks the user where a link leads; `null` for no link. Default: the browser's prompt. */
  readonly askLink?: (before: string | undefined) => string | null | Promise<string | null>;
}

const marked = Facet.define<{ readonly post: Post; readonly options: MarksOptions }>();
const shown = StateEffect.define<readonly Span[]>();

const drawn = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(set, transaction) {
    let next = set.map(transaction.changes);
    for (const effect of transaction.effects) if (effect.is(shown)) next = decorations(effect.value);
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

function decorations(spans: readonly Span[]): DecorationSet {
  const ranges: Range<Decoration>[] = [];
  let at = 0;
  for (const { text, marks } of spans) {
    const from = at;
    at += text.length;
    const names = (Object.keys(marks) as MarkName[]).filter((name) => isSet(marks[name]));
    if (names.length === 0 || from === at) continue;
    const link = marks.link;
    const attributes = typeof link === "string" ? { title: link } : undefined;
    ranges.push(Decoration.mark({ class: names.map((name) => `cm-syncline-${name}`).join(" "), ...(attributes && { attributes }) }).range(from, at));
  }
  return Decoration.set(ranges);
}

function isSet(value: boolean | string | undefined): value is true | string {
  return value !== undefined && value !== false;
}

/** Shows the marks of a post's body in an editor that holds it, and lets the commands below work there. */
export function synclineMarks(post: Post, options: MarksOptions = {}): Extension {
  return [marked.of({ post, options }), drawn, shower, look];
}

/** A stretch that moves along with the text while something is waited for. */
interface Stretch {
  from: number;
  to: number;
}

const shower = ViewPlugin.fromClass(class {
  readonly stretches = new Set<Stretch>();
  private readonly post: Post | undefined;
  private readonly stop: (() => void) | undefined;
  private last: readonly Span[] | undefined;
  private waiting = false;
  private closed = false;

  constructor(private readonly view: EditorView) {
    this.post = view.state.facet(marked)[0]?.post;
    this.stop = this.post?.subscribe(() => this.soon());
    this.soon();
  }

  update({ docChanged, changes }: ViewUpdate): void {
    if (!docChanged) return;
    for (const stretch of this.stretches) {
      stretch.from = changes.mapPos(stretch.from, 1);
      stretch.to = Math.max(stretch.from, changes.mapPos(stretch.to, -1));
    }
    this.soon();
  }

  destroy(): void {
    this.closed = true;
    this.stop?.();
  }

  /** Never from within an update, which a change of the text may be. */
  private soon(): void {
    if (this.waiting) return;
    this.waiting = true;
    queueMicrotask(() => {
      this.waiting = false;
      if (!this.closed) this.show();
    });
  }

  private show(): void {
    const spans = this.post?.getSnapshot().spans;
    // What is shown of the post may be behind what is typed here: the marks that are there move along meanwhile.
    if (spans === undefined || spans === this.last || !sameText(spans, this.view)) return;
    this.last = spans;
    this.view.dispatch({ effects: shown.of(spans) });
  }
});

function sameText(spans: readonly Span[], view: EditorView): boolean {
  const { doc } = view.state;
  let at = 0;
  for (const { text } of spans) at += text.length;
  if (at !== doc.length) return false;
  at = 0;
  return spans.every(({ text }) => {
    const from = at;
    at += text.length;
    return doc.sliceString(from, at, "\n") === text;
  });
}

/** What a mark is on the whole of a stretch, or `undefined` if not all of it has it alike. */
function valueOn(spans: readonly Span[], from: number, to: number, name: MarkName): true | string | undefined {
  let at = 0;
  let found: true | string | undefined;
  for (const { text, marks } of spans) {
    const [start, end] = [at, (at += text.length)];
    if (end <= from || start >= to) continue;
    const value = marks[name];
    if (!isSet(value) || (found !== undefined && found !== value)) return undefined;
    found = value;
  }
  return found;
}

function ignore(pending: PromiseLike<unknown>): void {
  pending.then(undefined, () => {});
}

/** Sets a mark on what is selected, or takes it away where all of it has it. */
export function toggleMark(name: MarkName, value: string | true = true): Command {
  return (view) => {
    const here = view.state.facet(marked)[0];
    const ranges = view.state.selection.ranges.filter(({ empty }) => !empty);
    if (here === undefined || ranges.length === 0) return false;
    here.options.binding?.flush();
    const { post } = here;
    const { spans } = post.getSnapshot();
    if (!sameText(spans, view)) return false;
    const on = ranges.every(({ from, to }) => valueOn(spans, from, to, name) !== undefined);
    for (const { from, to } of ranges) ignore(on ? post.unmark(from, to, name) : post.mark(from, to, name, value));
    return true;
  };
}

export const toggleBold: Command = toggleMark("bold");
export const toggleItalic: Command = toggleMark("italic");
export const toggleCode: Command = toggleMark("code");

/** Makes a link of what is selected; asks where it leads, unless told. An empty answer takes the link away. */
export function setLink(to?: string): Command {
  return (view) => {
    const here = view.state.facet(marked)[0];
    const { from, to: end, empty } = view.state.selection.main;
    if (here === undefined || empty) return false;
    here.options.binding?.flush();
    const before = valueOn(here.post.getSnapshot().spans, from, end, "link");
    const ask = here.options.askLink ?? ((url?: string) => window.prompt("Link to", url ?? "https://"));
    const stretches = view.plugin(shower)?.stretches;
    const stretch = { from, to: end };
    stretches?.add(stretch);
    void Promise.resolve(to ?? ask(typeof before === "string" ? before : undefined)).then((url) => {
      const { from, to } = stretch;
      if (url === null || from === to) return;
      here.options.binding?.flush();
      ignore(url === "" ? here.post.unmark(from, to, "link") : here.post.mark(from, to, "link", url));
    }).finally(() => stretches?.delete(stretch)).catch(() => {});
    return true;
  };
}

/** Mod-b, Mod-i, Mod-e and Mod-k. */
export const markKeymap: readonly KeyBinding[] = [
  { key: "Mod-b", run: toggleBold, preventDefault: true },
  { key: "Mod-i", run: toggleItalic, preventDefault: true },
  { key: "Mod-e", run: toggleCode, preventDefault: true },
  { key: "Mod-k", run: setLink(), preventDefault: true },
];

const look = EditorView.baseTheme({
  ".cm-syncline-bold": { fontWeight: "700" },
  ".cm-syncline-italic": { fontStyle: "italic" },
  ".cm-syncline-code": { fontFamily: "ui-monospace, SFMono-Regular, Menlo, monospace", fontSize: "0.92em" },
  "&light .cm-syncline-code": { background: "rgb(0 0 0 / 6%)" },
  "&dark .cm-syncline-code": { background: "rgb(255 255 255 / 10%)" },
  ".cm-syncline-link": { textDecoration: "underline", textUnderlineOffset: "2px" },
  "&light .cm-syncline-link": { color: "#2f5bd7" },
  "&dark .cm-syncline-link": { color: "#8fb0ff" },
});
