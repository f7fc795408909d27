/** What happens in a document, a space or a feed, as it happens. */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Client, Feed, Json, Store } from "../../types.js";
import { badAddress, documentAt } from "../address.js";
import { commentsChanges, feedChanges, jsonChanges, likesChanges, postChanges, spaceChanges, type Change } from "../changes.js";
import { useClient } from "../context.js";
import { cell, useStore } from "../store.js";

export interface RealtimeUpdate {
  readonly change: Change;
  readonly address: string;
  readonly at: number;
}

export interface RealtimeOptions {
  /** How many of the newest are kept to be shown. Default 50; 0 for none, which never draws the component again. */
  readonly keep?: number;
}

export interface UsedUpdates {
  /** The newest last. */
  readonly updates: readonly RealtimeUpdate[];
  clear(): void;
}

/**
 * Calls `listener` for everything that changes in `source`: a document (`space/id/facet`), a space (`space`) or a
 * {@link Feed}. What was there before the first catching up is no event. Everybody's changes are told, this user's too.
 */
export function useRealtimeUpdates(source: string | Feed, listener?: (update: RealtimeUpdate) => void, options?: RealtimeOptions): UsedUpdates {
  const client = useClient();
  const keep = options?.keep ?? 50;
  const [kept] = useState(() => cell<readonly RealtimeUpdate[]>([]));
  const told = useRef(listener);
  useEffect(() => { told.current = listener; });
  const { address, follow } = useMemo(() => followed(client, source), [client, source]);
  useEffect(() => {
    const stop = follow((changes) => {
      const fresh = changes.map((change) => ({ change, address, at: Date.now() }));
      if (keep > 0) kept.set([...kept.getSnapshot(), ...fresh].slice(-keep));
      for (const update of fresh) told.current?.(update);
    });
    return () => {
      stop();
      kept.set([]);
    };
  }, [address, follow, keep, kept]);
  const updates = useStore(kept);
  const clear = useCallback(() => kept.set([]), [kept]);
  return useMemo(() => ({ updates, clear }), [updates, clear]);
}

interface Followed {
  readonly address: string;
  follow(told: (changes: readonly Change[]) => void): () => void;
}

function followed(client: Client, source: string | Feed): Followed {
  if (typeof source !== "string") {
    return { address: source.space, follow: differences(source, feedChanges, () => source.getSnapshot().phase === "live") };
  }
  if (!source.includes("/")) {
    const space = client.space(source);
    return { address: source, follow: differences(space, spaceChanges, () => space.getSnapshot().phase === "inside") };
  }
  const parts = source.split("/");
  if (parts.length !== 3 || parts.includes("")) {
    throw badAddress("a space (\"town\"), a feed, or the address of a document with what of it is meant (post, likes, comments or json)", "town/hello/comments", source);
  }
  const handle = documentAt(client, source);
  const live = () => handle.status.getSnapshot().live;
  return { address: source, follow: differences<never>(handle as unknown as Store<never>, differ(source) as never, live, handle.status) };
}

function differ(address: string) {
  switch (address.slice(address.lastIndexOf("/") + 1)) {
    case "post": return postChanges;
    case "likes": return likesChanges;
    case "comments": return commentsChanges;
    default: return jsonChanges as (before: Json, after: Json) => Change[];
  }
}

/** Follows a store from when `begun` says that it has caught up, which `also` may be what tells. */
function differences<T>(
  store: Store<T>, compare: (before: T, after: T) => Change[], begun: () => boolean, also?: Store<unknown>,
): Followed["follow"] {
  return (told) => {
    let before = store.getSnapshot();
    let following = begun();
    const changed = () => {
      const was = before;
      before = store.getSnapshot();
      if (!following) following = begun();
      else if (!Object.is(was, before)) {
        const changes = compare(was, before);
        if (changes.length > 0) told(changes);
      }
    };
    const stops = [store.subscribe(changed)];
    if (also !== undefined) stops.push(also.subscribe(() => { if (!following) changed(); }));
    return () => stops.forEach((stop) => stop());
  };
}
