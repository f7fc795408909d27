/** Pieces that several components are put together from. */
import { useCallback, useMemo, type CSSProperties, type ReactNode } from "react";
import { useLocale } from "../context.js";
import type { Store } from "../../types.js";
import { useSelected } from "../store.js";

/** Class names in a row, without those that are not. */
export function classes(...names: (string | false | undefined)[]): string {
  return names.filter(Boolean).join(" ");
}

/** A hue for each name: the same on every device. */
export function hueOf(user: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < user.length; at += 1) hash = Math.imul(hash ^ user.charCodeAt(at), 0x01000193);
  return (hash >>> 0) % 360;
}

export function hueStyle(user: string): CSSProperties {
  return { "--_hue": hueOf(user) } as CSSProperties;
}

export function Avatar({ user, small }: { readonly user: string; readonly small?: boolean }) {
  return (
    <span className={classes("syncline-avatar", small && "syncline-avatar-small")} style={hueStyle(user)} aria-hidden="true">
      {initials(user)}
    </span>
  );
}

/** The first letters of the first two words, as people see letters. */
function initials(user: string): string {
  const words = user.split(/[\s._-]+/u).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase() || "?";
}

/** What screen readers hear and nobody sees. */
export function Spoken({ children, ...rest }: { readonly children?: ReactNode; readonly id?: string; readonly role?: "status" | "alert" }) {
  return <span className="syncline-spoken" {...rest}>{children}</span>;
}

const MINUTE_MS = 60_000;

/** How far behind the time that is shown may be. */
const LOOK_MS = 10_000;

/** The time: one timer for everything that shows how long ago something was. */
const time: Store<number> = (() => {
  const listeners = new Set<() => void>();
  let now = 0;
  let timer: ReturnType<typeof setInterval> | undefined;
  const look = () => { now = Date.now(); };
  return {
    getSnapshot() {
      if (timer === undefined) look();
      return now;
    },
    getServerSnapshot: () => 0,
    subscribe(listener) {
      const told = () => listener();
      listeners.add(told);
      timer ??= setInterval(() => {
        look();
        for (const one of [...listeners]) one();
      }, LOOK_MS);
      return () => {
        listeners.delete(told);
        if (listeners.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      };
    },
  };
})();

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["day", 24 * 60], ["hour", 60], ["minute", 1],
];

/** How long ago, with the exact time behind it. After a week it is a date. */
export function Ago({ at }: { readonly at: number }) {
  const locale = useLocale();
  // Drawn again only when another number of minutes is over. Before there is a time, as on a server, it is -1.
  const minutes = useSelected(time, useCallback((now: number) => (now === 0 ? -1 : Math.max(0, Math.floor((now - at) / MINUTE_MS))), [at]));
  const formats = useMemo(() => ({
    ago: new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" }),
    day: new Intl.DateTimeFormat(locale, { dateStyle: "medium" }),
    exact: new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }),
  }), [locale]);
  const date = new Date(at);
  if (minutes === -1 || Number.isNaN(date.getTime())) return null;
  const [unit, size] = STEPS.find(([, size]) => minutes >= size) ?? ["second", 1] as const;
  const shown = minutes > 7 * 24 * 60 ? formats.day.format(date) : formats.ago.format(unit === "second" ? 0 : -Math.floor(minutes / size), unit);
  return <time dateTime={date.toISOString()} title={formats.exact.format(date)}>{shown}</time>;
}

const PATHS = {
  reconnect: "M13.2 6.2A5.5 5.5 0 1 0 13.5 9M13.5 3v3.5H10",
  close: "M4 4l8 8M12 4l-8 8",
  clock: "M8 4.8V8l2.2 1.4M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12z",
  alert: "M8 5.2v3.3M8 11v.1M7.1 2.6L1.9 11.7A1 1 0 0 0 2.8 13.2h10.4a1 1 0 0 0 .9-1.5L8.9 2.6a1 1 0 0 0-1.8 0z",
  smile: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM5.6 9.6a2.9 2.9 0 0 0 4.8 0M6 6.4v.1M10 6.4v.1",
  down: "M8 3v10M3.8 8.8L8 13l4.2-4.2",
  check: "M3.2 8.4l3.2 3.2 6.4-7",
} as const;

export function Icon({ name }: { readonly name: keyof typeof PATHS | "stop" | "heart" }) {
  if (name === "stop") {
    return <svg className="syncline-icon" viewBox="0 0 16 16" aria-hidden="true"><rect x="4" y="4" width="8" height="8" rx="1.5" fill="currentColor" /></svg>;
  }
  if (name === "heart") {
    return (
      <svg className="syncline-icon syncline-heart" viewBox="0 0 16 16" aria-hidden="true">
        <path d="M8 13.4S2.2 10 2.2 6.2A3.1 3.1 0 0 1 8 4.7a3.1 3.1 0 0 1 5.8 1.5C13.8 10 8 13.4 8 13.4z" strokeWidth="1.5" stroke="currentColor" />
      </svg>
    );
  }
  return (
    <svg className="syncline-icon" viewBox="0 0 16 16" fill="none" aria-hidden="true">
      <path d={PATHS[name]} stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

export type Tone = "good" | "busy" | "quiet" | "bad";

export function Dot({ tone }: { readonly tone: Tone }) {
  return <span className="syncline-dot" data-tone={tone} aria-hidden="true" />;
}
