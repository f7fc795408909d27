/** The most recently active posts of a space. */
import { useMemo } from "react";
import type { FeedView } from "../../types.js";
import { useClient } from "../context.js";
import { useStore } from "../store.js";

/** Follows a space's feed while the component is there; `newest` bounds how many posts. */
export function useFeed(space: string, options?: { readonly newest?: number }): FeedView {
  const client = useClient();
  const newest = options?.newest;
  const feed = useMemo(() => client.feed(space, newest === undefined ? {} : { newest }), [client, space, newest]);
  return useStore(feed);
}
