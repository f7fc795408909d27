/** How long ago something was, kept true while it is shown. */
import { useSyncExternalStore } from "react";

const format = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const units: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["year", 31_536_000], ["month", 2_592_000], ["week", 604_800], ["day", 86_400], ["hour", 3_600], ["minute", 60],
];

export function Ago({ at }: { at: number }) {
  useSyncExternalStore(eachMinute, minute, minute);
  return <time dateTime={new Date(at).toISOString()} title={new Date(at).toLocaleString()}>{text(at)}</time>;
}

function text(at: number): string {
  const seconds = (Date.now() - at) / 1_000;
  for (const [unit, length] of units) {
    if (seconds >= length) return format.format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}

function minute(): number {
  return Math.floor(Date.now() / 60_000);
}

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** One timer for all of them. */
function eachMinute(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => listeners.forEach((told) => told()), 60_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}
