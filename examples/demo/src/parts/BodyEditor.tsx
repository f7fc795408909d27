/** The live text of a post, for those who may write in it: CodeMirror with marks and everybody's carets. */
import { defaultKeymap } from "@codemirror/commands";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, placeholder, type Command } from "@codemirror/view";
import { useEffect, useRef, useState } from "react";
import type { Post } from "syncline";
import { markKeymap, setLink, synclineMarks, synclineText, toggleBold, toggleCode, toggleItalic } from "syncline/codemirror";
import { useClient, useUndo } from "syncline/react";
import { quietly } from "../quietly.js";
import { useHere } from "../space.js";
import { useDark } from "../theme.js";
import { Icon, type IconName } from "./Icon.js";
import { isWeb } from "./Marked.js";

const TOOLS: readonly (readonly [label: string, icon: IconName, command: Command])[] = [
  ["Bold", "bold", toggleBold], ["Italic", "italic", toggleItalic], ["Code", "code", toggleCode], ["Link", "link", setLink()],
];

export function BodyEditor({ handle }: { handle: Post }) {
  const client = useClient();
  const { space } = useHere();
  const dark = useDark();
  const host = useRef<HTMLDivElement>(null);
  const [view, setView] = useState<EditorView>();
  const { undoable, redoable, undo, redo } = useUndo(handle);

  useEffect(() => {
    if (host.current === null) return undefined;
    const room = client.space(space);
    const binding = handle.text("body");
    const editor = mount(host.current, handle, binding, dark, () => room.setTyping(handle.address, true));
    setView(editor);
    return () => {
      setView(undefined);
      editor.destroy();
      binding.close();
      room.setTyping(handle.address, false);
    };
  }, [client, space, handle, dark]);

  const run = (command: Command) => {
    if (view === undefined) return;
    command(view);
    view.focus();
  };
  return (
    <div className="editor">
      <div className="editor-tools" role="toolbar" aria-label="Text tools">
        {TOOLS.map(([label, icon, command]) => (
          <button key={label} type="button" className="round" aria-label={label} title={label} onMouseDown={keepSelection} onClick={() => run(command)}><Icon name={icon} /></button>
        ))}
        <span className="grow" />
        <button type="button" className="round" aria-label="Undo" title="Undo" disabled={undoable === 0} onClick={() => quietly(undo())}><Icon name="undo" /></button>
        <button type="button" className="round" aria-label="Redo" title="Redo" disabled={redoable === 0} onClick={() => quietly(redo())}><Icon name="redo" /></button>
      </div>
      <div ref={host} className="editor-host" />
    </div>
  );
}

function mount(host: HTMLElement, post: Post, binding: ReturnType<Post["text"]>, dark: boolean, typed: () => void): EditorView {
  // A root of its own takes style sheets as objects. In the document CodeMirror would write style elements, which the
  // page's policy forbids.
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  return new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: binding.text,
      extensions: [
        synclineText(binding, {
          selections: post.selections("body"),
          select: (selection) => post.select("body", selection),
          history: { undo: () => quietly(post.undo()), redo: () => quietly(post.redo()) },
          typed,
        }),
        synclineMarks(post, { binding, askLink }),
        keymap.of([...markKeymap, ...defaultKeymap]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "Text of the post" }),
        placeholder("Write here. Others may write at the same time."),
        dark ? THEMES.dark : THEMES.light,
      ],
    }),
  });
}

const LOOK = {
  "&": { color: "var(--ink)", fontSize: "1rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "inherit", lineHeight: "1.55" },
  ".cm-content": { padding: "12px 0", caretColor: "var(--ink)", minHeight: "72px" },
  ".cm-line": { padding: "0 14px" },
  ".cm-placeholder": { color: "var(--faint)" },
  ".cm-syncline-link": { color: "var(--accent)" },
};

/** Made once: each has class names of its own. */
const THEMES = { light: EditorView.theme(LOOK), dark: EditorView.theme(LOOK, { dark: true }) };

/** Where a link leads: to the web, or nowhere. */
function askLink(before: string | undefined): string | null {
  const answer = window.prompt("Where does it lead?", before ?? "https://");
  return answer === null || answer === "" || isWeb(answer) ? answer : null;
}

/** A click on a tool is about what is selected in the text. */
function keepSelection(event: { preventDefault(): void }): void {
  event.preventDefault();
}
