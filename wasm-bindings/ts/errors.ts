/** The errors of this package: a stable code, the same as on the wire, and a sentence for people. */

import type { SynclineErrorLike } from "./types.js";

/** Codes of which the same again ends the same (PROTOCOL.md, section 15), and this package's own. */
const FATAL: ReadonlySet<string> = new Set([
  "bad_frame", "frame_too_large", "unsupported_version", "out_of_protocol", "replaced", "unauthenticated",
  "forbidden", "token_expired", "bad_address", "bad_command", "not_author", "no_webassembly", "closed",
]);

export class SynclineError extends Error implements SynclineErrorLike {
  override readonly name = "SynclineError";
  readonly code: string;
  readonly fatal: boolean;
  readonly retryAfterMs?: number;

  constructor(code: string, message: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fatal = FATAL.has(code);
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }
}

/** What a client answers once it was closed. */
export function closed(): SynclineError {
  return new SynclineError("closed", "the client is closed");
}

/** The text of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** What the engine throws begins with the code: `bad_command: a title needs …`. */
export function errorOf(thrown: unknown, otherwise: string): SynclineError {
  if (thrown instanceof SynclineError) return thrown;
  const message = messageOf(thrown);
  const [, code, sentence] = /^([a-z][a-z0-9_]*): ([^]*)$/.exec(message) ?? [];
  return code === undefined || sentence === undefined
    ? new SynclineError(otherwise, message, { cause: thrown })
    : new SynclineError(code, sentence);
}

/** Errors of callbacks are the app's, and must not keep others from being told. */
export function report(thrown: unknown): void {
  if (typeof reportError === "function") reportError(thrown);
  else setTimeout(() => { throw thrown; }, 0);
}
