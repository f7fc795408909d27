/** Asks the app for a token when one is wanted, and not too often when it has none to give. */

import { messageOf } from "./errors.js";
import { unref } from "./store.js";

const WAIT_MS = 1_000;
const WAIT_MS_MAX = 60_000;

/** Why there is no token. */
export interface Tokenless {
  readonly message: string;
  /** The app could not say, and is asked again: which time comes next, and when. */
  readonly again?: { readonly attempt: number; readonly at: number };
}

export class Tokens {
  #asking = false;
  #wanted = false;
  #over = false;
  #attempt = 0;
  #wait = WAIT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: () => string | Promise<string>,
    private readonly have: (token: string) => void,
    private readonly failed: (why: Tokenless) => void,
  ) {}

  want(): void {
    this.#wanted = true;
    if (!this.#asking && this.#timer === undefined) void this.#ask();
  }

  /** Asks at once if it was to ask later. */
  now(): void {
    if (this.#asking || this.#timer === undefined || !this.#wanted) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#ask();
  }

  /** The last one was good. */
  accepted(): void {
    this.#wait = WAIT_MS;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#asking = true;
    this.#over = true;
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    // Until the server has accepted one, the next is asked for later and later.
    const wait = this.#wait;
    this.#wait = Math.min(wait * 2, WAIT_MS_MAX);
    this.#wanted = false;
    let token: unknown;
    let why: Tokenless | undefined;
    try {
      token = await this.ask();
      if (typeof token !== "string" || token === "") why = { message: "getToken answered none" };
    } catch (error) {
      why = { message: messageOf(error), again: { attempt: ++this.#attempt, at: Date.now() + wait } };
    }
    if (this.#over) return;
    if (why) {
      this.#wanted = true;
      this.failed(why);
    } else {
      this.#attempt = 0;
      this.have(token as string);
    }
    this.#asking = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#wanted) this.want();
    }, wait);
    unref(this.#timer);
  }
}
