/** Where a comment, a reply or an edit is written. */
import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent } from "react";
import type { Labels } from "../../labels.js";

interface ComposerProps {
  readonly kind: "comment" | "reply" | "edit";
  readonly label: string;
  readonly labels: Labels["comments"];
  /** What it begins with. */
  readonly first?: string;
  readonly disabled?: boolean;
  /** Whether nothing is taken on any more: what is written here can still be marked and copied. */
  readonly over?: boolean;
  setTyping(typing: boolean): void;
  send(body: string): void;
  /** Only what can be closed has it. */
  cancel?: () => void;
}

/** As the engine bounds a comment, in bytes of UTF-8. */
const BYTES_MAX = 32 << 10;

export function Composer({ kind, label, labels, first = "", disabled = false, over = false, setTyping, send, cancel }: ComposerProps) {
  const [text, setText] = useState(first);
  const field = useRef<HTMLTextAreaElement>(null);
  const body = text.trim();
  // Characters that only steer others are nothing to read either.
  const blank = !/[^\s\p{Cf}]/u.test(body);
  const id = useId();
  const fits = text.length * 3 <= BYTES_MAX || new TextEncoder().encode(body).length <= BYTES_MAX;
  const ready = !blank && fits && !disabled && !over;
  const why = !fits ? labels.tooLong : blank && text !== "" ? labels.blank : "";

  useEffect(() => {
    if (kind === "comment") return;
    const { current } = field;
    current?.focus();
    current?.setSelectionRange(current.value.length, current.value.length);
  }, [kind]);
  useEffect(() => () => setTyping(false), [setTyping]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!ready) return;
    setTyping(false);
    setText("");
    send(body);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    // A key that ends or steers a composition belongs to the input method.
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
    else if (event.key === "Escape" && cancel !== undefined) cancel();
    else return;
    event.stopPropagation();
  };
  return (
    <form className="syncline-composer" data-kind={kind} data-filled={text === "" ? undefined : ""} onSubmit={submit}>
      {/* The copy behind the field gives it the height of its text. */}
      <div className="syncline-grow" data-copy={text}>
        <textarea
          ref={field} rows={1} value={text} disabled={disabled || (over && text === "")} readOnly={over} placeholder={label} aria-label={label}
          aria-invalid={!fits} aria-describedby={why === "" ? undefined : id} dir="auto"
          onChange={(event) => {
            setText(event.target.value);
            setTyping(event.target.value.trim() !== "");
          }}
          onBlur={() => setTyping(false)} onKeyDown={onKeyDown}
        />
      </div>
      <div className="syncline-composer-foot">
        <span id={id} className="syncline-quiet syncline-composer-why" aria-live="polite" hidden={why === ""}>{why}</span>
        {why === "" && <span className="syncline-quiet syncline-shortcut" aria-hidden="true">{labels.shortcut}</span>}
        {cancel !== undefined && <button type="button" className="syncline-button" onClick={cancel}>{labels.cancel}</button>}
        <button type="submit" className="syncline-button" data-primary="" disabled={!ready} aria-describedby={why === "" ? undefined : id}>
          {kind === "edit" ? labels.save : kind === "reply" ? labels.reply : labels.send}
        </button>
      </div>
    </form>
  );
}
