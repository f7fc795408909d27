/** A text field that several people write in at once, with the others' carets in it. */
import { useEffect, useId, useRef, useState, type ClipboardEvent } from "react";
import type { DocumentHandle } from "../../types.js";
import { spaceOf } from "../address.js";
import { useLabels } from "../context.js";
import { usePlacedText, type TextPlace } from "../hooks/useCursors.js";
import { useEntered } from "../hooks/usePresence.js";
import { reason, type LabelsOf } from "../labels.js";
import { useIsomorphicLayoutEffect } from "../layout.js";
import { cell, useStore } from "../store.js";
import { Mirror } from "../text/Mirror.js";
import { bindTextarea } from "../text/textarea.js";
import { Icon, Spoken, classes } from "./parts.js";

export type CollaborativeTextProps = TextPlace & {
  /** What the field is for; shown above it, unless `hideLabel`. */
  readonly label: string;
  readonly hideLabel?: boolean;
  readonly placeholder?: string;
  readonly readOnly?: boolean;
  /** The least height, in lines. Default 3. It grows with its text. */
  readonly rows?: number;
  /** Whether Enter makes a new line. Default `true`; a title wants `false`. */
  readonly multiline?: boolean;
  readonly labels?: LabelsOf<"text">;
  readonly className?: string;
};

function pasteInOneLine(event: ClipboardEvent<HTMLTextAreaElement>): void {
  const text = event.clipboardData.getData("text/plain");
  if (!/[\r\n]/.test(text)) return;
  event.preventDefault();
  const field = event.currentTarget;
  field.setRangeText(text.replace(/[\r\n]+/g, " ").trim(), field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertFromPaste" }));
}

export function CollaborativeText(props: CollaborativeTextProps) {
  const { label, hideLabel = false, placeholder, readOnly = false, rows = 3, multiline = true, className } = props;
  const labels = useLabels("text", props.labels);
  const { handle, text } = usePlacedText(props);
  const status = useStore<ReturnType<DocumentHandle<unknown>["status"]["getSnapshot"]>>(handle.status);
  const selections = useStore(text.selections);
  const space = useEntered(spaceOf(props.address));
  const field = useRef<HTMLTextAreaElement>(null);
  const [content] = useState(() => cell(""));
  const shown = useStore(content);
  const id = useId();
  const [open, setOpen] = useState(false);

  // Open while the component is there; the field is bound once there is something to bind.
  useEffect(() => handle.subscribe(() => {}), [handle]);
  useIsomorphicLayoutEffect(() => {
    const { current } = field;
    if (!status.ready || current === null) return undefined;
    const binding = text.bind();
    const bound = bindTextarea(current, binding, {
      changed: content.set,
      typed: () => space.setTyping(text.document, true),
      selected(selection) {
        text.select(selection);
        if (selection === null) space.setTyping(text.document, false);
      },
      undo: () => void handle.undo().then(undefined, () => {}),
      redo: () => void handle.redo().then(undefined, () => {}),
    });
    setOpen(true);
    return () => {
      setOpen(false);
      bound.close();
      binding.close();
      text.select(null);
      space.setTyping(text.document, false);
    };
  }, [status.ready, handle, text, space, content]);

  // What can't be opened is not on its way.
  const loading = !open && (status.ready || status.problem === undefined);
  const others = [...new Set(selections.map(({ user }) => user))];
  return (
    <div className={classes("syncline", "syncline-text", className)} data-multiline={multiline}>
      <label htmlFor={`${id}field`} className={hideLabel ? "syncline-spoken" : undefined}>{label}</label>
      <div className="syncline-text-frame">
        <div className="syncline-text-stack" style={{ "--_rows": multiline ? rows : 1 } as object}>
          <textarea
            ref={field} id={`${id}field`} rows={1} defaultValue="" readOnly={readOnly || !open} aria-busy={loading} aria-describedby={`${id}others`}
            aria-multiline={multiline} placeholder={loading ? labels.loading : open ? placeholder : undefined} dir="auto"
            onKeyDown={(event) => { if (!multiline && event.key === "Enter" && !event.nativeEvent.isComposing) event.preventDefault(); }}
            onPaste={(event) => { if (!multiline) pasteInOneLine(event); }}
          />
          <Mirror text={shown} selections={selections} />
        </div>
      </div>
      <Spoken id={`${id}others`}>{others.length > 0 ? labels.others(others) : ""}</Spoken>
      {status.problem !== undefined && (
        <p className="syncline-problem" role="alert"><Icon name="alert" /><span>{reason(labels.reasons, status.problem.code, status.problem.message)}</span></p>
      )}
    </div>
  );
}
