/** Streams that clients read and write: keeps the text that was read, and answers whoever waits for a state. */

import { SynclineError } from "../errors.js";
import type { Core } from "./core.js";
import type { ClientPort } from "./messages.js";

interface Reading {
  reader: number;
  text: string;
  /** Goes up when the text began anew. */
  round: number;
  readonly ports: Map<ClientPort, { round: number; length: number }>;
}

interface Waiting {
  readonly look: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What a watcher of a stream is told: text that follows, or all of it where it began anew. */
export interface StreamUpdate {
  readonly restarted: boolean;
  readonly text: string;
  /** As `Engine.streamReader` has it. */
  readonly state: string | undefined;
}

export interface WriterState {
  readonly origin: { readonly producer: string; readonly created: number } | null;
  readonly written: number;
  readonly durable: number;
  readonly status: { readonly interrupted_by?: string | null; readonly outcome?: { readonly type: string } | null } | null;
  readonly failed: { readonly code: string; readonly message: string } | null;
}

export class Streams {
  readonly #readings = new Map<string, Reading>();
  readonly #writers = new Map<string, ClientPort>();
  #waiting: Waiting[] = [];

  constructor(private readonly core: () => Core) {}

  // ------------------------------------------------------------------------------------------- reading

  watch(port: ClientPort, address: string): void {
    let reading = this.#readings.get(address);
    if (!reading) {
      const reader = this.core().input((engine, now) => engine.readStream(now, address, 0));
      this.#readings.set(address, (reading = { reader, text: "", round: 1, ports: new Map() }));
    }
    reading.ports.set(port, { round: 0, length: 0 });
    this.#take(address);
  }

  unwatch(port: ClientPort, address: string): void {
    const reading = this.#readings.get(address);
    if (!reading?.ports.delete(port) || reading.ports.size > 0) return;
    this.#readings.delete(address);
    this.core().happened((engine, now) => engine.leaveReading(now, reading.reader));
  }

  /** After it failed, reads again from its beginning. */
  resume(address: string): void {
    const reading = this.#readings.get(address);
    if (!reading) return;
    this.core().happened((engine, now) => {
      engine.leaveReading(now, reading.reader);
      reading.reader = engine.readStream(now, address, 0);
    });
    reading.text = "";
    reading.round++;
  }

  read(port: ClientPort, address: string): StreamUpdate | undefined {
    const reading = this.#readings.get(address);
    const had = reading?.ports.get(port);
    if (!reading || !had) return undefined;
    const restarted = had.round !== reading.round;
    const text = restarted ? reading.text : reading.text.slice(had.length);
    had.round = reading.round;
    had.length = reading.text.length;
    return { restarted, text, state: this.core().look((engine) => engine.streamReader(reading.reader)) };
  }

  #take(address: string): void {
    const reading = this.#readings.get(address);
    if (!reading) return;
    for (;;) {
      let taken: string | undefined;
      this.core().happened((engine, now) => { taken = engine.takeText(now, reading.reader); });
      if (taken === undefined) return;
      const { text, restarted } = JSON.parse(taken) as { text: string; restarted: boolean };
      if (restarted) {
        reading.text = "";
        reading.round++;
      }
      reading.text += text;
    }
  }

  // ------------------------------------------------------------------------------------------- writing

  async write(port: ClientPort, address: string, create: boolean, askedBy: string | undefined): Promise<WriterState> {
    if (this.#isFailed(address)) this.core().look((engine) => engine.leaveWriting(address));
    // Asked again: by the same writer, or by one that goes on in another tab.
    if (this.writer(address) === undefined) this.core().input((engine, now) => engine.writeStream(now, address, create, askedBy));
    this.#writers.set(address, port);
    const opened = await this.#until(() => {
      const state = this.#writer(address);
      return state.origin ? state : undefined;
    });
    await this.#standing(address, opened.durable);
    return this.#writer(address);
  }

  /** Waits until it is known how a stream stands: that it is open does not say whether it has ended. */
  async #standing(address: string, from: number): Promise<void> {
    const reader = this.core().input((engine, now) => engine.readStream(now, address, from));
    try {
      await this.#until(() => {
        if (this.#writer(address).status?.outcome) return true;
        const state = this.core().look((engine) => engine.streamReader(reader));
        if (state === undefined) return true;
        const { status, failed } = JSON.parse(state) as Pick<WriterState, "status" | "failed">;
        return status !== null || failed !== null ? true : undefined;
      });
    } finally {
      this.core().happened((engine, now) => engine.leaveReading(now, reader));
    }
  }

  /** How many bytes were taken; waits while none can be. */
  async append(address: string, text: string): Promise<number> {
    return await this.#until(() => this.core().input((engine, now) => engine.appendStream(now, address, text)) || undefined);
  }

  async end(address: string, outcome: string): Promise<unknown> {
    try {
      this.core().input((engine, now) => engine.endStream(now, address, outcome));
    } catch (error) {
      // The server has ended it already.
      if (!(error instanceof Error) || !error.message.startsWith("stream_ended")) throw error;
    }
    const state = await this.#until(() => {
      const state = this.#writer(address);
      return state.status?.outcome ? state : undefined;
    });
    const { type } = state.status!.outcome!;
    if (state.durable < state.written || type !== (JSON.parse(outcome) as { type: string }).type) {
      throw new SynclineError("stream_ended", `the stream was ended elsewhere, as ${type}`);
    }
    return type;
  }

  async interrupt(address: string): Promise<void> {
    const number = this.core().input((engine, now) => engine.interruptStream(now, address));
    try {
      const answer = await this.#until(() => this.core().look((engine) => engine.interruptAnswer(number)));
      const { ok, code, message } = JSON.parse(answer) as { ok?: boolean; code?: string; message?: string };
      if (!ok) throw new SynclineError(code ?? "no_stream", message ?? "the stream can't be interrupted");
    } finally {
      this.core().look((engine) => engine.leaveInterrupt(number));
    }
  }

  writer(address: string): string | undefined {
    return this.core().look((engine) => engine.streamWriter(address));
  }

  leaveWriting(port: ClientPort, address: string): void {
    if (this.#writers.get(address) !== port) return;
    this.#writers.delete(address);
    this.core().look((engine) => engine.leaveWriting(address));
    this.#look();
  }

  leaveAll(port: ClientPort): void {
    for (const address of [...this.#readings.keys()]) this.unwatch(port, address);
    for (const address of [...this.#writers.keys()]) this.leaveWriting(port, address);
  }

  /** Something has changed about a stream. */
  changed(address: string): void {
    this.#take(address);
    this.#look();
  }

  /** Nobody will be answered any more. */
  endAll(error: SynclineError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #isFailed(address: string): boolean {
    const json = this.writer(address);
    return json !== undefined && (JSON.parse(json) as WriterState).failed !== null;
  }

  #writer(address: string): WriterState {
    const json = this.writer(address);
    if (json === undefined) throw new SynclineError("no_stream", "the stream is not open to be written");
    const state = JSON.parse(json) as WriterState;
    if (state.failed) throw new SynclineError(state.failed.code, state.failed.message);
    return state;
  }

  /** Waits until a look answers something, looking again whenever something about a stream has changed. */
  #until<T>(look: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ look, resolve: resolve as (value: unknown) => void, reject });
      this.#look();
    });
  }

  #look(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      try {
        const found = one.look();
        if (found === undefined) this.#waiting.push(one);
        else one.resolve(found);
      } catch (error) {
        one.reject(error);
      }
    }
  }
}
