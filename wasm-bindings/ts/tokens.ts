/** Asks the app for a token when one is wanted, and not too often when it has none to give. */

import { messageOf } from "./errors.js";
import { unref } from "./store.js";

const WAIT_MS = 1_000;
const WAIT_MS_MAX = 60_000;

export class Tokens {
  #asking = false;
  #wanted = false;
  #over = false;
  #wait = WAIT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: () => string | Promise<string>,
    private readonly have: (token: string) => void,
    private readonly failed: (message: string) => void,
  ) {}

  want(): void {
    this.#wanted = true;
    if (!this.#asking && this.#timer === undefined) void this.#ask();
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
    try {
      this.have(await this.ask());
    } catch (error) {
      this.#wanted = true;
      this.failed(messageOf(error));
    }
    if (this.#over) return;
    this.#asking = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#wanted) this.want();
    }, wait);
    unref(this.#timer);
  }
}
