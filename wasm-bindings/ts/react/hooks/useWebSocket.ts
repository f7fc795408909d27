/** Near the wire: how the connection stands, and messages of the app's own among those in a space. */
import { useCallback, useMemo } from "react";
import type { Json, Transport } from "../../types.js";
import { useClient } from "../context.js";
import { useConnectionStatus, type UsedConnection } from "./useConnectionStatus.js";
import { useEntered, type PresenceOptions } from "./usePresence.js";

export interface AppMessage {
  readonly user: string;
  readonly key: string;
  /** `undefined` when it was taken back, lapsed, or its sender left. */
  readonly value: Json | undefined;
}

export interface UsedWebSocket extends UsedConnection {
  readonly transport?: Exclude<Transport, "auto">;
  /**
   * Tells those in the space something under a key. It is an announcement: those who come later see the newest too, and
   * where many are sent in a moment, only the last may arrive.
   */
  send(key: string, value: Json | undefined, options?: { ttlMs?: number }): void;
  /** Calls `listener` when anybody's newest message under `key` changes; those that stand are told at once. */
  subscribe(key: string, listener: (message: AppMessage) => void): () => void;
  /** Frames as they go over the wire, for inspectors. */
  onFrame(listener: (frame: { direction: "in" | "out"; bytes: number; at: number }) => void): () => void;
}

/** `name` is the space that messages are for; it is entered. */
export function useWebSocket(name: string, options?: PresenceOptions): UsedWebSocket {
  const client = useClient();
  const connection = useConnectionStatus({ countdown: false });
  const space = useEntered(name, options);
  const send = useCallback<UsedWebSocket["send"]>((key, value, how) => space.announce(key, value, how), [space]);
  const onFrame = useCallback<UsedWebSocket["onFrame"]>((listener) => client.on("frame", listener), [client]);
  const subscribe = useCallback<UsedWebSocket["subscribe"]>((key, listener) => {
    let known = new Map<string, Json>();
    const look = () => {
      const fresh = new Map<string, Json>();
      for (const { user, says } of space.getSnapshot().members) {
        const value = says[key];
        if (value !== undefined) fresh.set(user, value);
      }
      const old = known;
      known = fresh;
      for (const [user, value] of fresh) if (!same(old.get(user), value)) listener({ user, key, value });
      for (const user of old.keys()) if (!fresh.has(user)) listener({ user, key, value: undefined });
    };
    const stop = space.subscribe(look);
    look();
    return stop;
  }, [space]);
  return useMemo(() => ({ ...connection, send, subscribe, onFrame }), [connection, send, subscribe, onFrame]);
}

function same(a: Json | undefined, b: Json): boolean {
  return a === b || (typeof b === "object" && JSON.stringify(a) === JSON.stringify(b));
}
