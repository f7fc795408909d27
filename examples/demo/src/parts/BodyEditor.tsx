/** The live text of a post, for those who may write in it: with everybody's carets, marks, undo and redo. */
import { useRef, useState } from "react";
import type { MarkName, Post, Span } from "syncline";
import { CollaborativeText, useUndo } from "syncline/react";
import { quietly } from "../quietly.js";
import { Icon, type IconName } from "./Icon.js";
import { Marked } from "./Marked.js";

const MARKS: readonly (readonly [MarkName, IconName])[] = [["bold", "bold"], ["italic", "italic"], ["code", "code"]];

export interface BodyEditorProps {
  readonly address: string;
  readonly handle: Post;
  readonly spans: readonly Span[];
}

export function BodyEditor({ address, handle, spans }: BodyEditorProps) {
  const box = useRef<HTMLDivElement>(null);
  const { undoable, redoable, undo, redo } = useUndo(handle);
  const [problem, setProblem] = useState<string>();
  const marked = spans.some(({ marks }) => Object.keys(marks).length > 0);

  const toggle = (name: MarkName) => {
    const field = box.current?.querySelector("textarea");
    if (field === null || field === undefined) return;
    const { selectionStart: start, selectionEnd: end } = field;
    setProblem(start === end ? "Choose some of the text first." : undefined);
    if (start === end) return;
    quietly(isMarked(spans, start, end, name) ? handle.unmark(start, end, name) : handle.mark(start, end, name));
    field.focus();
  };
  return (
    <div className="editor" ref={box}>
      <div className="editor-tools" role="toolbar" aria-label="Text tools">
        {MARKS.map(([name, icon]) => (
          <button key={name} type="button" className="round" aria-label={name} title={name} onMouseDown={keepSelection} onClick={() => toggle(name)}><Icon name={icon} /></button>
        ))}
        <span className="grow" />
        <button type="button" className="round" aria-label="Undo" title="Undo" disabled={undoable === 0} onClick={() => quietly(undo())}><Icon name="undo" /></button>
        <button type="button" className="round" aria-label="Redo" title="Redo" disabled={redoable === 0} onClick={() => quietly(redo())}><Icon name="redo" /></button>
      </div>
      {problem !== undefined && <p className="notice" role="status">{problem}</p>}
      <CollaborativeText address={address} field="body" label="Text of the post" hideLabel placeholder="Write here. Others may write at the same time." rows={3} />
      {marked && <div className="body as-shown"><p className="quiet small">As others read it</p><Marked spans={spans} /></div>}
    </div>
  );
}

/** Whether all of a range has a mark. */
function isMarked(spans: readonly Span[], start: number, end: number, name: MarkName): boolean {
  let at = 0;
  return spans.every(({ text, marks }) => {
    const [from, to] = [at, at + text.length];
    at = to;
    return to <= start || from >= end || marks[name] !== undefined;
  });
}

/** A click on a tool is about what is selected in the text. */
function keepSelection(event: { preventDefault(): void }): void {
  event.preventDefault();
}
