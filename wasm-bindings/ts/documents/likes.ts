/** The reactions to a post and its comments, and two counters. */

import type { Likes, LikesView, Pending } from "../types.js";
import { Handle, parsed, type Parts } from "./handle.js";

const NONE: LikesView = { targets: {}, counters: { views: 0, shares: 0 } };

export class LikesHandle extends Handle<LikesView> implements Likes {
  constructor(parts: Parts, address: string) {
    super(parts, address, NONE, parsed);
  }

  like(target = "post", reaction = "like"): Pending {
    return this.command({ likes: { like: { target: named(target), reaction } } });
  }

  unlike(target = "post", reaction = "like"): Pending {
    return this.command({ likes: { unlike: { target: named(target), reaction } } });
  }

  toggle(target = "post", reaction = "like"): Pending {
    const mine = this.getSnapshot().targets[target]?.[reaction]?.mine ?? false;
    return mine ? this.unlike(target, reaction) : this.like(target, reaction);
  }

  count(counter: "views" | "shares", by = 1): Pending {
    return this.command({ likes: { count: { counter, by } } });
  }
}

/** A target as commands name it; in views it is the plain name. */
function named(target: string): string | { readonly comment: string } {
  return target === "post" ? target : { comment: target };
}
