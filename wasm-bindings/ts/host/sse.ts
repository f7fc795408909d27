/** A connection where WebSocket is blocked: server-sent events down, requests up (PROTOCOL.md, section 11). */

import { messageOf } from "../errors.js";
import type { Endpoint, Link, LinkEvents } from "./transport.js";

/** Bytes of one line, which a frame in base64 fills at most. */
const LINE_BYTES_MAX = 2 << 20;
/** Bytes of frames that go up with one request, unless one frame alone is larger. */
const UP_BYTES = 256 << 10;
/** How often a request is repeated whose answer did not come. */
const TRIES = 3;
/** How long an answer may take to begin. */
const ANSWER_MS = 20_000;
/** How long the other side may take to end the connection once everything is said. */
const CLOSE_MS = 2_000;

export function dialEvents(endpoint: Endpoint, events: LinkEvents): Link {
  const connection = new EventConnection(endpoint, events);
  void connection.run();
  return connection;
}

class EventConnection implements Link {
  readonly #abort = new AbortController();
  #outgoing: Uint8Array[] = [];
  #path = "";
  #number = 0;
  #posting = false;
  #closing = false;
  #over = false;

  constructor(private readonly endpoint: Endpoint, private readonly events: LinkEvents) {}

  async run(): Promise<void> {
    try {
      const opened = await this.#ask("/connections", "POST");
      if (opened.status !== 201) throw new Error(`it answered ${opened.status} when asked for a connection`);
      const { id } = await opened.json() as { id?: unknown };
      if (typeof id !== "string" || !/^[A-Za-z0-9]+$/.test(id)) throw new Error("the name that it gave to the connection is none");
      this.#path = `/connections/${id}/frames`;
      const down = await this.#ask(this.#path, "GET");
      if (down.status !== 200 || !down.body) throw new Error(`it answered ${down.status} when asked for events`);
      if (this.#over) return;
      this.events.opened("sse");
      this.#post();
      await this.#read(down.body.getReader());
      this.#end(undefined, "the connection ended");
    } catch (error) {
      this.#end(undefined, messageOf(error));
    }
  }

  send(message: Uint8Array): void {
    if (this.#over || this.#closing) return;
    this.#outgoing.push(message);
    this.#post();
  }

  close(): void {
    if (this.#over || this.#closing) return;
    this.#closing = true;
    if (!this.#posting) this.#leave();
  }

  /** What is to be said is said: the server ends the connection, or it is ended here. */
  #leave(): void {
    if (this.#path === "") return this.#end(undefined, "given up");
    setTimeout(() => this.#end(undefined, "closed"), this.#number === 0 ? 0 : CLOSE_MS);
  }

  #end(code: number | undefined, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#abort.abort();
    this.#outgoing = [];
    this.events.closed(code, reason);
  }

  async #ask(path: string, method: string, body?: Uint8Array): Promise<Response> {
    const abort = new AbortController();
    const stop = () => abort.abort();
    this.#abort.signal.addEventListener("abort", stop);
    const timer = setTimeout(() => abort.abort(new Error("no answer")), ANSWER_MS);
    try {
      const init: RequestInit = { method, signal: abort.signal, cache: "no-store", credentials: "omit" };
      if (body) Object.assign(init, { body, keepalive: body.length < 32 << 10 });
      return await fetch(this.endpoint.http + path, init);
    } finally {
      clearTimeout(timer);
      // The request whose body is read goes on until the connection ends.
      if (method !== "GET") this.#abort.signal.removeEventListener("abort", stop);
    }
  }

  #post(): void {
    if (this.#posting || this.#path === "" || this.#outgoing.length === 0) return;
    this.#posting = true;
    this.#drain().then(
      () => {
        this.#posting = false;
        if (this.#closing) this.#leave();
      },
      (error) => this.#end(undefined, `sending failed: ${messageOf(error)}`),
    );
  }

  /** Sends what there is, as much as fits with one request, and the next when that is answered. */
  async #drain(): Promise<void> {
    while (this.#outgoing.length > 0 && !this.#over) {
      let count = 0;
      let bytes = 0;
      while (count < this.#outgoing.length && (count === 0 || bytes + 4 + this.#outgoing[count]!.length <= UP_BYTES)) {
        bytes += 4 + this.#outgoing[count++]!.length;
      }
      const body = framed(this.#outgoing.splice(0, count), bytes);
      this.#number++;
      await this.#say(`${this.#path}?number=${this.#number}`, body);
    }
  }

  /** Sends one body, again where its answer was lost: its number makes that harmless. */
  async #say(path: string, body: Uint8Array): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      let answer: Response;
      try {
        answer = await this.#ask(path, "POST", body);
      } catch (error) {
        if (attempt >= TRIES || this.#over) throw error;
        continue;
      }
      // Read to its end, the connection serves the next request.
      await answer.arrayBuffer().catch(() => undefined);
      if (answer.ok) return;
      throw new Error(`the server answered ${answer.status}`);
    }
  }

  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#over) return;
      for (const event of parser.feed(value)) {
        if (event.type === "close") return this.#end(event.code, "the server closed the connection");
        this.events.received(event.frame);
        if (this.#over) return;
      }
    }
  }
}

/** Each frame with its length in front. */
function framed(frames: readonly Uint8Array[], bytes: number): Uint8Array {
  const body = new Uint8Array(bytes);
  const view = new DataView(body.buffer);
  let at = 0;
  for (const frame of frames) {
    view.setUint32(at, frame.length);
    body.set(frame, at + 4);
    at += 4 + frame.length;
  }
  return body;
}

export type ServerEvent = { type: "frame"; frame: Uint8Array } | { type: "close"; code: number | undefined };

/** Events out of the bytes of a stream, however these are cut. */
export class EventParser {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  #rest: string[] = [];
  #length = 0;
  #name = "";
  #data: string[] = [];
  #dataLength = 0;

  *feed(bytes: Uint8Array): Generator<ServerEvent> {
    let text = this.#decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      const line = this.#rest.join("") + text.slice(0, end);
      this.#rest = [];
      this.#length = 0;
      text = text.slice(end + 1);
      const event = this.#line(line.replace(/\r+$/, ""));
      if (event) yield event;
    }
    this.#rest.push(text);
    this.#length += text.length;
    if (this.#length > LINE_BYTES_MAX) throw new Error("the server sent a line that is too long");
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") return this.#dispatch();
    const [, field, value] = /^([^:]*):? ?([^]*)$/.exec(line)!;
    if (field === "event") this.#name = value!;
    else if (field === "data") {
      this.#dataLength += value!.length;
      if (this.#dataLength > LINE_BYTES_MAX) throw new Error("the server sent an event that is too long");
      this.#data.push(value!);
    }
    return undefined;
  }

  #dispatch(): ServerEvent | undefined {
    const name = this.#name;
    const data = this.#data.join("");
    this.#name = "";
    this.#data = [];
    this.#dataLength = 0;
    if (name === "close") return { type: "close", code: closeCode(data) };
    if (name !== "" || data === "") return undefined;
    return { type: "frame", frame: ofBase64(data) };
  }
}

function closeCode(data: string): number | undefined {
  try {
    const { code } = JSON.parse(data) as { code?: unknown };
    return typeof code === "number" && Number.isInteger(code) && code >= 0 && code <= 0xffff ? code : undefined;
  } catch {
    return undefined;
  }
}

function ofBase64(data: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(data);
  } catch {
    throw new Error("the server sent a frame that is none");
  }
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
