/** How it stands with the server, and the countdown to the next attempt. */
import { useCallback, useMemo } from "react";
import type { ConnectionStatus, Store } from "../../types.js";
import { useClient } from "../context.js";
import { constant, useStore } from "../store.js";

export interface UsedConnection extends ConnectionStatus {
  readonly connected: boolean;
  /** Whether it is on the way to be: connecting, authenticating or reconnecting. */
  readonly trying: boolean;
  /** While reconnecting: seconds until the next attempt, counted down. */
  readonly retryIn?: number;
  /** Tries now. */
  reconnect(): void;
  connect(): void;
  disconnect(): void;
}

export interface ConnectionOptions {
  /** Whether to draw each second of the countdown. Default `true`. */
  readonly countdown?: boolean;
}

/** The connection's state. */
export function useConnectionStatus(options?: ConnectionOptions): UsedConnection {
  const client = useClient();
  const status = useStore(client.connection);
  const counted = options?.countdown !== false && status.phase === "reconnecting" ? status.nextAttemptAt : undefined;
  const retryIn = useCountdown(counted);
  const reconnect = useCallback(() => client.reconnect(), [client]);
  const connect = useCallback(() => client.connect(), [client]);
  const disconnect = useCallback(() => client.disconnect(), [client]);
  return useMemo(() => ({
    ...status,
    connected: status.phase === "connected",
    trying: status.phase === "connecting" || status.phase === "authenticating" || status.phase === "reconnecting",
    ...(retryIn === undefined ? {} : { retryIn }),
    reconnect, connect, disconnect,
  }), [status, retryIn, reconnect, connect, disconnect]);
}

/** Whole seconds until `at`, drawn again as each is over; `undefined` for no time. */
function useCountdown(at: number | undefined): number | undefined {
  return useStore(useMemo(() => (at === undefined ? none : countdown(at)), [at]));
}

const none: Store<number | undefined> = constant(undefined);

function countdown(at: number): Store<number | undefined> {
  const left = () => Math.max(0, Math.ceil((at - Date.now()) / 1_000));
  return {
    getSnapshot: left,
    getServerSnapshot: () => undefined,
    subscribe(listener) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const wait = () => {
        const ms = at - Date.now();
        // Until the next whole second before `at`, so that the count never skips one.
        if (ms > 0) timer = setTimeout(tick, ms % 1_000 || 1_000);
      };
      const tick = () => {
        listener();
        wait();
      };
      wait();
      return () => clearTimeout(timer);
    },
  };
}
