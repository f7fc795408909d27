/** A text field that several people write in at once, with the others' carets in it. */
import { useCallback, useEffect, useId, useRef, useState, type ClipboardEvent } from "react";
import type { DocumentHandle, PostView, Problem, SpaceView } from "../../types.js";
import { spaceOf } from "../address.js";
import { useClient, useLabels } from "../context.js";
import { usePlacedText, type TextPlace } from "../hooks/useCursors.js";
import { useConnectionStatus } from "../hooks/useConnectionStatus.js";
import { useEntered } from "../hooks/usePresence.js";
import { useKey } from "../identity.js";
import { reason, type LabelsOf } from "../labels.js";
import { useIsomorphicLayoutEffect } from "../layout.js";
import { overOf } from "../over.js";
import { cell, useSelected, useStore } from "../store.js";
import { Mirror } from "../text/Mirror.js";
import { bindTextarea } from "../text/textarea.js";
import { Icon, Spoken, classes } from "./parts.js";

export type CollaborativeTextProps = TextPlace & {
  /** What the field is for; shown above it, unless `hideLabel`. */
  readonly label: string;
  readonly hideLabel?: boolean;
  readonly placeholder?: string;
  readonly readOnly?: boolean;
  /**
   * Whether this user may edit, as far as the app knows; the server decides. Default: anybody in a schemaless document,
   * and of a post its author, its editors, and whoever has a role of the space that may let them.
   */
  readonly mayEdit?: boolean;
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

/** Each text has a field of its own: another address begins with another. */
export function CollaborativeText(props: CollaborativeTextProps) {
  return <Field key={useKey(props.address, "field" in props ? props.field : props.path)} {...props} />;
}

function Field(props: CollaborativeTextProps) {
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

  const connection = useConnectionStatus({ countdown: false });
  const over = overOf(connection);
  const bar = useBar(handle, "field" in props);
  const role = useSelected(space, roleOf);
  const may = props.mayEdit ?? (role !== undefined && !PLAIN.has(role));
  const rights = bar === "foreign" && may ? undefined : bar ?? (props.mayEdit === false ? "foreign" : undefined);
  // Who is not caught up may yet hear that there is such a post.
  const barred = !status.ready ? undefined : rights === "missing" && (connection.connected || connection.trying) && !status.live ? "unknown" : rights;
  const [notTaken, setNotTaken] = useNotTaken(text.document);
  const note = readOnly ? undefined : barred === "missing" ? labels.missing : barred === "foreign" ? labels.foreign : undefined;
  const problem = over ?? status.problem ?? notTaken;

  // Open while the component is there; the field is bound once there is something to bind.
  useEffect(() => handle.subscribe(() => {}), [handle]);
  useIsomorphicLayoutEffect(() => {
    const { current } = field;
    if (!status.ready || current === null) return undefined;
    const binding = text.bind();
    const bound = bindTextarea(current, binding, {
      changed: content.set,
      typed() {
        setNotTaken(undefined);
        space.setTyping(text.document, true);
      },
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
  }, [status.ready, handle, text, space, content, setNotTaken]);

  // What can't be opened is not on its way.
  const loading = !open && (status.ready || status.problem === undefined);
  const others = [...new Set(selections.map(({ user }) => user))];
  return (
    <div className={classes("syncline", "syncline-text", className)} data-multiline={multiline}>
      <label htmlFor={`${id}field`} className={hideLabel ? "syncline-spoken" : undefined}>{label}</label>
      <div className="syncline-text-frame">
        <div className="syncline-text-stack" style={{ "--_rows": multiline ? rows : 1 } as object}>
          <textarea
            ref={field} id={`${id}field`} rows={1} defaultValue="" readOnly={readOnly || !open || barred !== undefined || over !== undefined} aria-busy={loading}
            aria-describedby={`${id}others ${id}note`}
            aria-multiline={multiline} placeholder={loading ? labels.loading : open ? placeholder : undefined} dir="auto"
            onKeyDown={(event) => { if (!multiline && event.key === "Enter" && !event.nativeEvent.isComposing) event.preventDefault(); }}
            onPaste={(event) => { if (!multiline) pasteInOneLine(event); }}
          />
          <Mirror text={shown} selections={selections} />
        </div>
      </div>
      <Spoken id={`${id}others`}>{others.length > 0 ? labels.others(others) : ""}</Spoken>
      <p id={`${id}note`} className="syncline-quiet" hidden={note === undefined}>{note}</p>
      {problem !== undefined && (
        <p className="syncline-problem" role="alert">
          <Icon name="alert" />
          <span>{problem === notTaken && `${labels.notTaken} `}{reason(labels.reasons, problem.code, problem.message)}</span>
        </p>
      )}
    </div>
  );
}

/** Roles that let nobody edit what others wrote, unless the rules of the space say so. */
const PLAIN: ReadonlySet<string> = new Set(["member", "viewer", "moderator", "importer"]);

const roleOf = ({ role }: SpaceView) => role;

/** Why this user may not edit a post, as far as it shows; the server decides. Schemaless documents have no authors. */
function useBar(handle: DocumentHandle<unknown>, isPost: boolean): "missing" | "foreign" | undefined {
  const { user } = useClient();
  const judge = useCallback((view: unknown) => {
    if (!isPost) return undefined;
    const { author, editors } = view as PostView;
    return author === null ? "missing" : author === user || editors.includes(user) ? undefined : "foreign";
  }, [isPost, user]);
  return useSelected(handle, judge);
}

/** Why the last edit of a document was not taken, until it is forgotten. */
function useNotTaken(document: string) {
  const client = useClient();
  const [problem, setProblem] = useState<Problem | undefined>(undefined);
  useEffect(() => client.on("problem", (one) => { if (one.address === document) setProblem(one); }), [client, document]);
  return [problem, setProblem] as const;
}
