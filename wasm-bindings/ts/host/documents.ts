/** Which documents are open for which clients, and what waits for one that is still being read. */

import { errorOf, SynclineError } from "../errors.js";
import type { DocumentStatus, Problem } from "../types.js";
import type { Core } from "./core.js";
import type { ClientPort } from "./messages.js";

const UNREAD: DocumentStatus = { ready: false, live: false, pending: 0, seq: 0 };

interface OpenDocument {
  readonly openers: Set<ClientPort>;
  status: DocumentStatus;
  problem: Problem | undefined;
  /** What is done once it is read, or told that it can't be. */
  waiting: { readonly port: ClientPort; readonly go: () => void; readonly fail: (error: SynclineError) => void }[];
}

export class Documents {
  readonly #open = new Map<string, OpenDocument>();

  constructor(private readonly core: () => Core) {}

  get size(): number {
    return this.#open.size;
  }

  open(port: ClientPort, address: string): void {
    let document = this.#open.get(address);
    if (!document) {
      document = { openers: new Set(), status: UNREAD, problem: undefined, waiting: [] };
      this.#open.set(address, document);
    }
    const again = document.problem !== undefined && !document.status.ready;
    document.openers.add(port);
    if (document.openers.size > 1 && !again) return;
    document.problem = undefined;
    try {
      this.core().input((engine, now) => engine.open(now, address, false));
    } catch (error) {
      const { code, message } = errorOf(error, "bad_address");
      this.problem({ address, code, message });
    }
  }

  close(port: ClientPort, address: string): void {
    const document = this.#open.get(address);
    if (!document?.openers.delete(port)) return;
    document.waiting = document.waiting.filter((one) => one.port !== port);
    if (document.openers.size > 0) return;
    this.#open.delete(address);
    this.core().happened((engine, now) => engine.close(now, address));
  }

  closeAll(port: ClientPort): void {
    for (const address of [...this.#open.keys()]) this.close(port, address);
  }

  /** Does something once the document is read; at once if it is. */
  whenReady(port: ClientPort, address: string, go: () => void, fail: (error: SynclineError) => void): void {
    const document = this.#open.get(address);
    if (!document) return fail(new SynclineError("not_found", "the document is not open"));
    if (document.status.ready && document.waiting.length === 0) return go();
    if (document.problem && !document.status.ready) return fail(errorOfProblem(document.problem));
    document.waiting.push({ port, go, fail });
  }

  /** What a document's status topic shows. */
  status(address: string): DocumentStatus {
    const document = this.#open.get(address);
    if (!document) return UNREAD;
    return document.problem ? { ...document.status, problem: document.problem } : document.status;
  }

  /** The first problem of a document that is open. */
  anyProblem(): Problem | undefined {
    for (const { problem } of this.#open.values()) if (problem) return problem;
    return undefined;
  }

  /** Answers whether it has been read by this: then it shows something, of which no change tells. */
  told(address: string, status: DocumentStatus): boolean {
    const document = this.#open.get(address);
    if (!document) return false;
    const read = status.ready && !document.status.ready;
    document.status = status;
    if (status.live) document.problem = undefined;
    if (!status.ready) return read;
    for (let next = document.waiting.shift(); next; next = document.waiting.shift()) next.go();
    return read;
  }

  problem(problem: Problem): void {
    const document = problem.address === undefined ? undefined : this.#open.get(problem.address);
    if (!document) return;
    document.problem = problem;
    if (document.status.ready) return;
    for (const { fail } of document.waiting.splice(0)) fail(errorOfProblem(problem));
  }
}

function errorOfProblem({ code, message }: Problem): SynclineError {
  return new SynclineError(code, message);
}
