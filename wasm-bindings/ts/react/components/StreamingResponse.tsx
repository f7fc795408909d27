/** A text while it is written: follows its end, can be stopped, and read on after a failure. */
import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import type { StreamView } from "../../types.js";
import { useLabels } from "../context.js";
import { useStreamingResponse } from "../hooks/useStreamingResponse.js";
import { useKey } from "../identity.js";
import { reason, type Labels, type LabelsOf } from "../labels.js";
import { useIsomorphicLayoutEffect } from "../layout.js";
import { Avatar, Dot, Icon, Spoken, classes } from "./parts.js";

export interface StreamingResponseProps {
  /** The stream, `space/id`; `null` while there is none. */
  readonly address: string | null;
  /** How the text is shown. Default: as it is. */
  readonly children?: (text: string) => ReactNode;
  /** Whether it can be stopped. Default `true`. */
  readonly interruptible?: boolean;
  readonly labels?: LabelsOf<"stream">;
  readonly className?: string;
}

/** Where one reads and what was asked for belong to the stream, and are gone with it. */
export function StreamingResponse(props: StreamingResponseProps) {
  return <Response key={useKey(props.address)} {...props} />;
}

function Response({ address, children, interruptible = true, labels: own, className }: StreamingResponseProps) {
  const labels = useLabels("stream", own);
  const { content, view, isStreaming, isInterrupting, interrupt, resume } = useStreamingResponse(address);
  const { scroller, atEnd, toEnd, onScroll } = useFollowedEnd(content);
  const [problem, setProblem] = useState<string | undefined>(undefined);
  useEffect(() => setProblem(undefined), [address, view.phase]);
  const stop = () => {
    interrupt().catch((error: { code?: string; message?: string }) => setProblem(reason(labels.reasons, error.code, error.message)));
  };
  const state = isInterrupting ? labels.interrupting : stateOf(view, labels);
  const unreadable = view.phase === "failed";
  return (
    <section className={classes("syncline", "syncline-stream", className)} data-phase={view.phase} aria-label={labels.region} aria-busy={isStreaming}>
      <header>
        {view.producer !== undefined && <><Avatar user={view.producer} small /><span className="syncline-name">{view.producer}</span></>}
        <span className="syncline-stream-state syncline-quiet"><Dot tone={toneOf(view)} />{state}</span>
        {/* Token by token nobody could listen to it: the state is said, and the text when it is whole. */}
        <Spoken role="status">{view.phase === "ended" ? `${state}. ${content}` : state}</Spoken>
        {interruptible && isStreaming && (
          <button type="button" className="syncline-button" onClick={stop} disabled={isInterrupting}><Icon name="stop" />{labels.stop}</button>
        )}
      </header>
      <div className="syncline-stream-text" ref={scroller} onScroll={onScroll} tabIndex={0} role="group" aria-label={labels.region}>
        {children === undefined ? <p dir="auto">{content}<Caret shown={isStreaming} /></p> : <>{children(content)}<Caret shown={isStreaming} /></>}
      </div>
      {!atEnd && (
        <button type="button" className="syncline-button syncline-to-end" onClick={toEnd}><Icon name="down" />{labels.newest}</button>
      )}
      {(unreadable || problem !== undefined) && (
        <p className="syncline-problem" role="alert">
          <Icon name="alert" />
          <span>{problem ?? reason(labels.reasons, view.code, view.message ?? labels.unreadable)}</span>
          {unreadable && view.code !== "bad_address" && view.code !== "closed" && <button type="button" className="syncline-button" onClick={resume}>{labels.resume}</button>}
        </p>
      )}
    </section>
  );
}

function Caret({ shown }: { readonly shown: boolean }) {
  return shown ? <span className="syncline-stream-caret" aria-hidden="true" /> : null;
}

function stateOf(view: StreamView, labels: Labels["stream"]): string {
  switch (view.phase) {
    case "waiting": return labels.waiting;
    case "streaming": return labels.streaming;
    case "stalled": return labels.stalled;
    case "interrupted": return labels.interrupting;
    case "failed": return labels.failed;
    case "ended": break;
  }
  switch (view.outcome?.type) {
    case "failed": return `${labels.failed}: ${view.outcome.reason}`;
    case "interrupted": return view.interruptedBy === undefined ? labels.wasStopped : labels.stopped(view.interruptedBy);
    case "abandoned": return labels.abandoned;
    // Writers end what was asked to stop where it is, and call that finished.
    case "finished": case undefined: return view.interruptedBy === undefined ? labels.finished : labels.stopped(view.interruptedBy);
  }
}

function toneOf({ phase, outcome, interruptedBy }: StreamView) {
  if (phase === "failed" || outcome?.type === "failed" || outcome?.type === "abandoned") return "bad";
  if (phase === "ended") return outcome?.type === "interrupted" || interruptedBy !== undefined ? "quiet" : "good";
  return phase === "stalled" ? "quiet" : "busy";
}

/** How near to the end counts as at the end: less than a line. */
const NEAR_PX = 16;

/** Scrolls along with the end until the user scrolls up, and again once they are back at the end. */
function useFollowedEnd(content: string) {
  const scroller = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const [atEnd, setAtEnd] = useState(true);
  const lastTop = useRef(0);
  const toEnd = useCallback(() => {
    const { current } = scroller;
    following.current = true;
    setAtEnd(true);
    if (current !== null) current.scrollTop = current.scrollHeight;
  }, []);
  useIsomorphicLayoutEffect(() => {
    const { current } = scroller;
    if (current !== null && following.current) current.scrollTop = current.scrollHeight;
  }, [content]);
  const onScroll = useCallback(() => {
    const { current } = scroller;
    if (current === null) return;
    const near = current.scrollHeight - current.clientHeight - current.scrollTop <= NEAR_PX;
    // Text that grew while this event was on its way is no reason to stop; a move upwards is.
    if (near) following.current = true;
    else if (current.scrollTop < lastTop.current) following.current = false;
    lastTop.current = current.scrollTop;
    setAtEnd(near || following.current);
  }, []);
  return { scroller, atEnd, toEnd, onScroll };
}
