/** Keeping documents in sync that no component shows. */
import { useCallback, useEffect, useMemo } from "react";
import type { DocumentHandle, SyncStatus } from "../../types.js";
import { documentAt } from "../address.js";
import { useClient } from "../context.js";
import { whenSynced } from "../over.js";
import { cell, useStore } from "../store.js";

export interface BackgroundOptions {
  /** Whether the browser asks before the page is left while something is not sent. Default `false`: it is stored. */
  readonly confirmLeave?: boolean;
}

export interface UsedBackgroundSync extends SyncStatus {
  /** How many of the documents given are read from the device, and how many are caught up with the server. */
  readonly kept: { readonly total: number; readonly ready: number; readonly live: number };
  /** Tries to get in contact now. */
  syncNow(): void;
  /**
   * Resolves when nothing is pending and everything is in sync; rejected when that can't come any more, with `closed` or
   * with why the client failed.
   */
  whenSynced(): Promise<void>;
}

/** Keeps the documents with these addresses (`space/id/facet`) open, so that they can be looked at without waiting, offline too. */
export function useBackgroundSync(addresses: readonly string[] = [], options?: BackgroundOptions): UsedBackgroundSync {
  const client = useClient();
  const sync = useStore(client.sync);
  const names = [...new Set(addresses)].sort().join("\n");
  const handles = useMemo(
    () => (names === "" ? [] : names.split("\n").map((address) => documentAt(client, address))),
    [client, names],
  );
  const kept = useKept(handles);
  useConfirmedLeave(options?.confirmLeave === true && sync.pending > 0);
  const syncNow = useCallback(() => {
    client.connect();
    if (client.connection.getSnapshot().phase !== "connected") client.reconnect();
  }, [client]);
  const synced = useCallback(() => whenSynced(client), [client]);
  return useMemo(() => ({ ...sync, kept, syncNow, whenSynced: synced }), [sync, kept, syncNow, synced]);
}

function useKept(handles: readonly DocumentHandle<unknown>[]) {
  const counts = useMemo(() => cell({ total: handles.length, ready: 0, live: 0 }), [handles]);
  useEffect(() => {
    const count = () => {
      const is = handles.map((handle) => handle.status.getSnapshot());
      const next = { total: is.length, ready: is.filter(({ ready }) => ready).length, live: is.filter(({ live }) => live).length };
      const last = counts.getSnapshot();
      if (next.ready !== last.ready || next.live !== last.live) counts.set(next);
    };
    const stops = handles.flatMap((handle) => [handle.subscribe(() => {}), handle.status.subscribe(count)]);
    count();
    return () => stops.forEach((stop) => stop());
  }, [handles, counts]);
  return useStore(counts);
}

function useConfirmedLeave(wanted: boolean): void {
  useEffect(() => {
    if (!wanted) return undefined;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [wanted]);
}
