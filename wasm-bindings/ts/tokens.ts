/** Asks the app for a token when one is wanted, and not too often when it has none to give. */

import { messageOf } from "./errors.js";
import { unref } from "./store.js";

const WAIT_MS = 1_000;
const WAIT_MS_MAX = 60_000;

export class Tokens {
  #asking = false;
  #wait = WAIT_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: () => string | Promise<string>,
    private readonly have: (token: string) => void,
    private readonly failed: (message: string) => void,
  ) {}

  want(): void {
    if (this.#asking || this.#timer !== undefined) return;
    void this.#ask();
  }

  /** The last one was good. */
  accepted(): void {
    this.#wait = WAIT_MS;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#asking = true;
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    // Until the server has accepted one, the next is asked for later and later.
    const wait = this.#wait;
    this.#wait = Math.min(wait * 2, WAIT_MS_MAX);
    let again = false;
    try {
      this.have(await this.ask());
    } catch (error) {
      again = true;
      this.failed(messageOf(error));
    }
    this.#asking = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (again) this.want();
    }, wait);
    unref(this.#timer);
  }
}
