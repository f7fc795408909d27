/** One button to like something, the reactions that it has, and a picker for more. */
import { useCallback, useEffect, useId, useRef, useState, type KeyboardEvent } from "react";
import type { Reaction } from "../../types.js";
import { useLabels, useLocale } from "../context.js";
import { useLikes } from "../hooks/useDocuments.js";
import { useConnectionStatus } from "../hooks/useConnectionStatus.js";
import { useKey } from "../identity.js";
import { reason, type Labels, type LabelsOf } from "../labels.js";
import { overOf, type Over } from "../over.js";
import { Icon, classes } from "./parts.js";

export interface LikeButtonProps {
  /** The post, `space/id`. */
  readonly address: string;
  /** `post` (the default) or a comment's id. */
  readonly target?: string;
  /** What the picker offers beside the like, and how it looks; `false` for no picker. */
  readonly reactions?: Readonly<Record<string, string>> | false;
  readonly disabled?: boolean;
  readonly labels?: LabelsOf<"likes">;
  readonly className?: string;
}

/** The reactions that are offered by default, with their pictures. */
export const defaultReactions: Readonly<Record<string, string>> = { love: "😍", laugh: "😂", wow: "😮", sad: "😢", "🎉": "🎉", "🚀": "🚀" };

const none: Readonly<Record<string, Reaction>> = {};

/** What is open in it belongs to the address, and is gone with it. */
export function LikeButton(props: LikeButtonProps) {
  return <Reactions key={useKey(props.address, props.target)} {...props} />;
}

function Reactions({ address, target = "post", reactions = defaultReactions, disabled: off = false, labels: own, className }: LikeButtonProps) {
  const labels = useLabels("likes", own);
  const { view, status, handle } = useLikes(address);
  const over = overOf(useConnectionStatus({ countdown: false }));
  const [notTaken, setNotTaken] = useState<Over | undefined>(undefined);
  const given = view.targets[target] ?? none;
  // What can't be opened takes nothing on; what can't be synced at the moment does.
  const closed = over !== undefined || (!status.ready && status.problem !== undefined);
  const disabled = off || closed;
  const problem = notTaken ?? (status.ready ? undefined : status.problem);
  const toggle = useCallback((reaction: string) => {
    setNotTaken(undefined);
    handle.toggle(target, reaction).then(undefined, setNotTaken);
  }, [handle, target]);
  const shown = Object.keys(given).filter((name) => name !== "like" && (given[name]?.count ?? 0) > 0);
  return (
    <div className={classes("syncline", "syncline-likes", className)} role="group" aria-label={labels.group}>
      <Toggle name="like" of={given["like"]} {...{ disabled, labels, toggle }} />
      {shown.map((name) => (
        <Toggle key={name} name={name} glyph={(reactions || defaultReactions)[name] ?? name} of={given[name]} {...{ disabled, labels, toggle }} />
      ))}
      {reactions !== false && <Picker {...{ reactions, given, disabled, labels, toggle }} />}
      {problem !== undefined && (
        <p className="syncline-problem" role="alert"><Icon name="alert" /><span>{notTaken && `${labels.notTaken} `}{reason(labels.reasons, problem.code, problem.message)}</span></p>
      )}
    </div>
  );
}

interface ToggleProps {
  readonly name: string;
  readonly glyph?: string;
  readonly of: Reaction | undefined;
  readonly disabled: boolean;
  readonly labels: Labels["likes"];
  toggle(reaction: string): void;
}

function Toggle({ name, glyph, of, disabled, labels, toggle }: ToggleProps) {
  const format = new Intl.NumberFormat(useLocale(), { notation: "compact" });
  const { count, mine } = of ?? { count: 0, mine: false };
  const said = name === "like" ? labels.like : labels.reactions[name] ?? name;
  return (
    <button
      type="button" className="syncline-like" data-reaction={name} disabled={disabled}
      aria-pressed={mine} aria-label={labels.count(said, count)} title={said} onClick={() => toggle(name)}
    >
      {glyph === undefined ? <Icon name="heart" /> : <span className="syncline-glyph" aria-hidden="true">{glyph}</span>}
      {(count > 0 || glyph !== undefined) && <span className="syncline-figures" key={count}>{format.format(count)}</span>}
    </button>
  );
}

interface PickerProps extends Pick<ToggleProps, "disabled" | "labels" | "toggle"> {
  readonly reactions: Readonly<Record<string, string>>;
  readonly given: Readonly<Record<string, Reaction>>;
}

function Picker({ reactions, given, disabled, labels, toggle }: PickerProps) {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const id = useId();
  const close = useCallback((back: boolean) => {
    setOpen(false);
    if (back) button.current?.focus();
  }, []);
  useEffect(() => {
    if (!open) return undefined;
    const leave = place(panel.current, button.current);
    panel.current?.querySelector("button")?.focus({ preventScroll: true });
    const outside = (event: Event) => {
      const { target } = event;
      if (target instanceof Node && !panel.current?.contains(target) && !button.current?.contains(target)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    return () => {
      leave();
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    };
  }, [open]);
  return (
    <span className="syncline-picker">
      <button
        ref={button} type="button" className="syncline-like" disabled={disabled} aria-label={labels.add} title={labels.add}
        aria-expanded={open} aria-controls={open ? id : undefined} onClick={() => setOpen(!open)}
      >
        <Icon name="smile" />
      </button>
      {open && (
        <div
          ref={panel} id={id} className="syncline-picker-panel" role="toolbar" aria-label={labels.picker}
          onKeyDown={(event) => move(event, close)}
        >
          {Object.entries(reactions).map(([name, glyph], index) => {
            const said = labels.reactions[name] ?? name;
            return (
              <button
                key={name} type="button" tabIndex={index === 0 ? 0 : -1} title={said} aria-label={said} aria-pressed={given[name]?.mine ?? false}
                onClick={() => {
                  toggle(name);
                  close(true);
                }}
              >
                <span aria-hidden="true">{glyph}</span>
              </button>
            );
          })}
        </div>
      )}
    </span>
  );
}

const GAP_PX = 6;
const EDGE_PX = 8;

/**
 * Shows the panel over everything, by the button and within the window. (Where it stands in the page it could be cut
 * off: a list clips what is in it.) Older browsers show it there all the same.
 */
function place(panel: HTMLElement | null, button: HTMLElement | null): () => void {
  if (panel === null || button === null || typeof panel.showPopover !== "function") return () => {};
  panel.popover = "manual";
  panel.showPopover();
  const move = () => {
    const [by, own] = [button.getBoundingClientRect(), panel.getBoundingClientRect()];
    const above = by.top - own.height - GAP_PX;
    panel.style.top = `${above >= EDGE_PX ? above : by.bottom + GAP_PX}px`;
    panel.style.left = `${Math.max(EDGE_PX, Math.min(by.left, document.documentElement.clientWidth - own.width - EDGE_PX))}px`;
  };
  move();
  const listening = new AbortController();
  for (const event of ["scroll", "resize"]) window.addEventListener(event, move, { capture: true, passive: true, signal: listening.signal });
  return () => listening.abort();
}

/** Arrows move within the panel, Escape leaves it. */
function move(event: KeyboardEvent<HTMLDivElement>, close: (back: boolean) => void): void {
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const at = buttons.findIndex((one) => one === document.activeElement);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (event.key === "Escape") close(true);
  else if (to !== undefined) buttons.at(to === buttons.length ? 0 : to)?.focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
}
