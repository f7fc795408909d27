/** The reactions to a post and its comments, and two counters. */

import type { Likes, LikesView, Pending } from "../types.js";
import { Handle, parsed, type Parts } from "./handle.js";

const NONE: LikesView = { targets: {}, counters: { views: 0, shares: 0 } };

export class LikesHandle extends Handle<LikesView> implements Likes {
  /** What was said here last of a reaction, while the view may not show it: until it is stored. */
  readonly #said = new Map<string, { readonly mine: boolean }>();

  constructor(parts: Parts, address: string) {
    super(parts, address, NONE, parsed);
  }

  like(target = "post", reaction = "like"): Pending {
    return this.#say(true, target, reaction);
  }

  unlike(target = "post", reaction = "like"): Pending {
    return this.#say(false, target, reaction);
  }

  toggle(target = "post", reaction = "like"): Pending {
    const said = this.#said.get(keyOf(target, reaction));
    const mine = said ? said.mine : this.getSnapshot().targets[target]?.[reaction]?.mine ?? false;
    return mine ? this.unlike(target, reaction) : this.like(target, reaction);
  }

  count(counter: "views" | "shares", by = 1): Pending {
    return this.command({ likes: { count: { counter, by } } });
  }

  #say(mine: boolean, target: string, reaction: string): Pending {
    const what = { target: named(target), reaction };
    const pending = this.command({ likes: mine ? { like: what } : { unlike: what } });
    const key = keyOf(target, reaction);
    const said = { mine };
    this.#said.set(key, said);
    const shown = () => {
      if (this.#said.get(key) === said) this.#said.delete(key);
    };
    pending.stored.then(shown, shown);
    return pending;
  }
}

function keyOf(target: string, reaction: string): string {
  return `${target} ${reaction}`;
}

/** A target as commands name it; in views it is the plain name. */
function named(target: string): string | { readonly comment: string } {
  return target === "post" ? target : { comment: target };
}
