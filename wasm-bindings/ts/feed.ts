/** The most recently active posts of a space. */

import { parsed } from "./documents/handle.js";
import type { Link } from "./link.js";
import type { Feed, FeedView } from "./types.js";

const WAITING: FeedView = { phase: "waiting", posts: [] };
const NEWEST = 50;

export class FeedHandle implements Feed {
  readonly getSnapshot: () => FeedView;
  readonly getServerSnapshot: () => FeedView;
  readonly subscribe: (listener: () => void) => () => void;

  constructor(link: Link, readonly space: string, newest = NEWEST) {
    ({ getSnapshot: this.getSnapshot, getServerSnapshot: this.getServerSnapshot, subscribe: this.subscribe } = link.store({
      topic: ["feed", space, String(newest)], initial: WAITING, wants: newest,
      reduce: (old: FeedView, told) => {
        const { posts, ...rest } = JSON.parse(told as string) as FeedView;
        return parsed(old, { ...rest, posts: posts.slice(0, newest) });
      },
    }));
  }
}
