/** Streams: a reader that follows a text while it grows, and a writer that survives the tab that holds the connection. */

import { errorOf, SynclineError } from "./errors.js";
import { parsed } from "./documents/handle.js";
import type { StreamUpdate, WriterState } from "./host/streams.js";
import type { Link } from "./link.js";
import { share } from "./share.js";
import { reached, type TopicStore } from "./store.js";
import type { Comments, Pending, StreamReader, StreamView, StreamWriter } from "./types.js";

const WAITING: StreamView = { phase: "waiting", text: "" };

type Outcome = NonNullable<StreamView["outcome"]>;

interface ReaderState {
  readonly origin?: { readonly producer: string; readonly asked_by?: string | null; readonly created: number } | null;
  readonly status?: {
    readonly stalled_since?: number | null;
    readonly interrupted_by?: string | null;
    readonly outcome?: { readonly type: Outcome["type"]; readonly reason?: string; readonly result?: { readonly comment: string } | null; readonly comment?: string | null } | null;
  } | null;
  readonly failed?: { readonly code: string; readonly message: string } | null;
}

export class StreamHandle implements StreamReader {
  readonly getSnapshot: () => StreamView;
  readonly getServerSnapshot: () => StreamView;
  readonly subscribe: (listener: () => void) => () => void;

  constructor(private readonly link: Link, readonly address: string) {
    ({ getSnapshot: this.getSnapshot, getServerSnapshot: this.getServerSnapshot, subscribe: this.subscribe } = link.store({
      topic: ["stream", address], initial: WAITING, reduce: readStream,
    }));
  }

  async interrupt(): Promise<void> {
    await this.link.ask({ ask: "interrupt", address: this.address });
  }

  resume(): void {
    this.link.send({ type: "resume_stream", address: this.address });
  }
}

function readStream(old: StreamView, told: unknown): StreamView {
  const { restarted, text, state } = told as StreamUpdate;
  const { origin, status, failed } = state === undefined ? ({} as ReaderState) : (JSON.parse(state) as ReaderState);
  const all = restarted ? text : old.text + text;
  const outcome = status?.outcome ? outcomeOf(status.outcome) : undefined;
  const phase = failed ? "failed" : outcome ? "ended" : status?.interrupted_by ? "interrupted"
    : status?.stalled_since != null ? "stalled" : origin ? "streaming" : "waiting";
  return share(old, {
    phase,
    text: all,
    ...(origin ? { producer: origin.producer, created: origin.created } : {}),
    ...(origin?.asked_by ? { askedBy: origin.asked_by } : {}),
    ...(status?.interrupted_by ? { interruptedBy: status.interrupted_by } : {}),
    ...(outcome ? { outcome } : {}),
    ...(failed ? { code: failed.code, message: failed.message } : {}),
  });
}

function outcomeOf(outcome: NonNullable<NonNullable<ReaderState["status"]>["outcome"]>): Outcome {
  switch (outcome.type) {
    case "finished": {
      const comment = outcome.comment ?? outcome.result?.comment;
      return comment == null ? { type: "finished" } : { type: "finished", comment };
    }
    case "failed": return { type: "failed", reason: outcome.reason ?? "" };
    default: return { type: outcome.type };
  }
}

export class Writer implements StreamWriter {
  readonly interrupted: Promise<string>;
  readonly #state: TopicStore<WriterState | undefined>;
  readonly #release: () => void;
  readonly #left: () => void;
  #interrupted!: (by: string) => void;
  /** What was appended and is not on the server's disk, from this offset in bytes on. */
  #from = 0;
  #kept = new Uint8Array();
  /** Up to which offset this host has it. */
  #handed = 0;
  /** How many hosts there have been, and who waits for the next. */
  #round = 0;
  #waiting: (() => void)[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #over = false;

  private constructor(
    private readonly link: Link,
    readonly address: string,
    private readonly origin: NonNullable<WriterState["origin"]>,
    private readonly open: (address: string) => Comments,
    left: () => void,
  ) {
    this.interrupted = new Promise((resolve) => { this.#interrupted = resolve; });
    this.#state = link.store<WriterState | undefined>({ topic: ["writer", address], initial: undefined, reduce: parsed });
    this.#release = this.#state.subscribe(() => this.#look());
    this.#left = left;
  }

  static async open(
    link: Link, address: string, create: boolean, askedBy: string | undefined, open: (address: string) => Comments,
    writers: Set<Writer>,
  ): Promise<Writer> {
    const state = await link.ask({ ask: "write", address, create, askedBy }) as WriterState;
    if (state.status?.outcome) {
      if (![...writers].some((writer) => writer.address === address)) link.send({ type: "leave_writing", address });
      throw new SynclineError("stream_ended", "the stream has ended");
    }
    const writer: Writer = new Writer(link, address, state.origin!, open, () => writers.delete(writer));
    writer.#from = state.durable;
    writer.#handed = state.written;
    writers.add(writer);
    return writer;
  }

  get written(): number {
    return this.#from + this.#kept.length;
  }

  append(text: string): Promise<void> {
    return this.#then(async () => {
      const bytes = new TextEncoder().encode(text);
      const kept = new Uint8Array(this.#kept.length + bytes.length);
      kept.set(this.#kept);
      kept.set(bytes, this.#kept.length);
      this.#kept = kept;
      await this.#hand(this.#from + kept.length);
    });
  }

  finish(options: { commit?: { address: string; parent?: string } } = {}): Promise<void> {
    return this.#then(async () => {
      const comment = options.commit && (await this.#commit(options.commit));
      await this.#end(comment === undefined ? { type: "finished" } : { type: "finished", comment });
    });
  }

  fail(reason: string): Promise<void> {
    return this.#then(() => this.#end({ type: "failed", reason }));
  }

  leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.#release();
    this.link.send({ type: "leave_writing", address: this.address });
    this.#left();
  }

  /** Goes on at another host, which says how much of the text there is. */
  resume(): void {
    if (this.#over) return;
    this.link.ask({ ask: "write", address: this.address, create: false }).then(
      (state) => {
        this.#handed = Math.max((state as WriterState).written, this.#from);
        this.#round++;
        for (const go of this.#waiting.splice(0)) go();
      },
      // Whoever appends next is told why.
      () => { for (const go of this.#waiting.splice(0)) go(); },
    );
  }

  /** Hands over everything up to an offset; waits while the server is behind, or there is no host. */
  async #hand(end: number): Promise<void> {
    while (this.#handed < end) {
      const round = this.#round;
      const text = new TextDecoder().decode(this.#kept.subarray(this.#handed - this.#from));
      try {
        const taken = await this.link.ask({ ask: "append", address: this.address, text }) as number;
        if (round === this.#round) this.#handed += taken;
      } catch (error) {
        if (errorOf(error, "").code !== "detached") throw error;
        if (round === this.#round) await new Promise<void>((go) => this.#waiting.push(go));
      }
    }
  }

  /** Comments with the whole text, also what was written before this writer; whoever does it again does nothing. */
  async #commit({ address, parent }: { address: string; parent?: string }): Promise<{ address: string; comment: string }> {
    const text = await this.#read(this.#from + this.#kept.length);
    const comments = this.open(address);
    // What was said in an earlier try may still be refused.
    await reached(this.link, comments.status, ({ live, pending, problem }) => {
      if (problem) throw new SynclineError(problem.code, problem.message);
      return live && pending === 0;
    });
    const id = await this.link.ask({ ask: "comment", address: this.address, created: this.origin.created }) as string;
    const added: Pending = comments.add(text, { id, ...(parent === undefined ? {} : { parent }) });
    const resolution = await added;
    if (resolution.type === "refused") throw new SynclineError(resolution.code, resolution.message);
    return { address: comments.address, comment: id };
  }

  /** The stream's text, once so many bytes of it are on the server's disk. */
  async #read(bytes: number): Promise<string> {
    const reader = new StreamHandle(this.link, this.address);
    let all = "";
    await reached(this.link, reader, ({ phase, text, code, message }) => {
      if (phase === "failed") throw new SynclineError(code ?? "no_stream", message ?? "the stream can't be read");
      all = text;
      return new TextEncoder().encode(text).length >= bytes;
    });
    return all;
  }

  async #end(outcome: Record<string, unknown>): Promise<void> {
    for (;;) {
      // Another host has only what was on the server's disk.
      await this.#hand(this.written);
      const round = this.#round;
      try {
        await this.link.ask({ ask: "end", address: this.address, outcome: JSON.stringify(outcome) });
        return this.leave();
      } catch (error) {
        const { code } = errorOf(error, "");
        if (code === "stream_ended") this.leave();
        if (code !== "detached") throw error;
        if (round === this.#round) await new Promise<void>((go) => this.#waiting.push(go));
      }
    }
  }

  /** One thing after the other. */
  #then<T>(work: () => Promise<T>): Promise<T> {
    if (this.#over) return Promise.reject(new SynclineError("stream_ended", "the stream was left"));
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  #look(): void {
    const state = this.#state.getSnapshot();
    if (!state) return;
    if (state.status?.interrupted_by) this.#interrupted(state.status.interrupted_by);
    if (state.durable > this.#from) {
      this.#kept = this.#kept.slice(state.durable - this.#from);
      this.#from = state.durable;
    }
  }
}
