/** What the platform has; looked at when it is needed, never at import. */

import type { WebSocketConstructor } from "./transport.js";

export interface Platform {
  readonly document: Document | undefined;
  readonly window: Window | undefined;
  readonly locks: LockManager | undefined;
  readonly hasIndexedDb: boolean;
  readonly hasChannels: boolean;
  readonly webSocket: WebSocketConstructor | undefined;
  /** What the platform says; `true` where it says nothing. */
  readonly network: boolean;
}

/** Where something is forbidden, as in a sandboxed page, looking at it may throw: then it is not there. */
function allowed<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

export function platform(): Platform {
  const { navigator } = globalThis as { navigator?: Navigator };
  return {
    document: typeof document === "undefined" ? undefined : document,
    window: typeof window === "undefined" ? undefined : window,
    locks: allowed(() => navigator?.locks),
    hasIndexedDb: allowed(() => typeof indexedDB !== "undefined" && indexedDB !== null) ?? false,
    hasChannels: typeof BroadcastChannel !== "undefined",
    webSocket: typeof WebSocket === "undefined" ? undefined : WebSocket,
    network: navigator?.onLine !== false,
  };
}

export interface PlatformEvents {
  visible(visible: boolean): void;
  network(network: boolean): void;
  /** The page may not run any more: it is frozen, kept for going back to, or goes away. */
  suspend(): void;
  /** It runs again. */
  resume(): void;
}

/** Hears what the platform says; the answer ends that. */
export function listen(events: PlatformEvents): () => void {
  const { document, window } = platform();
  const target: EventTarget | undefined = window ?? (typeof globalThis.addEventListener === "function" ? globalThis : undefined);
  const heard: [EventTarget | undefined, string, EventListener][] = [
    [document, "visibilitychange", () => events.visible(document?.visibilityState !== "hidden")],
    [document, "freeze", () => events.suspend()],
    [document, "resume", () => events.resume()],
    [window, "pagehide", () => events.suspend()],
    [window, "pageshow", (event) => {
      if ((event as PageTransitionEvent).persisted) events.resume();
    }],
    [target, "online", () => events.network(true)],
    [target, "offline", () => events.network(false)],
  ];
  for (const [on, name, listener] of heard) on?.addEventListener(name, listener);
  return () => {
    for (const [on, name, listener] of heard) on?.removeEventListener(name, listener);
  };
}
