/**
 * The contract with the WebAssembly module: the session machine (`engine/src/session.rs`) as one class. Whoever
 * drives it owns sockets, the store, the clock and timers, and decides nothing about sync.
 *
 * Every method that takes `now` (milliseconds since 1970) may leave effects: take them with `effects()` and carry
 * all of them out, in order, before anything else is handed in. Errors are `Error`s whose message begins with the
 * stable code, as in `bad_command: …`; a `WebAssembly.RuntimeError` means that the instance is dead.
 */
export interface Engine {
  setOnline(now: number, online: boolean): void;
  setNetwork(now: number, network: boolean): void;
  setVisible(now: number, visible: boolean): void;
  active(now: number): void;
  reconnect(now: number): void;
  setToken(now: number, token: string): void;
  shutdown(now: number): void;
  tick(now: number): void;
  /** When `tick` wants to be called, if nothing else happens before. */
  timeout(): number | undefined;
  effects(): Effect[];

  connected(now: number, connection: number): void;
  received(now: number, connection: number, message: Uint8Array): void;
  disconnected(now: number, connection: number, code: number | undefined, reason: string): void;
  written(now: number, token: number, error: string | undefined): void;
  read(now: number, token: number, keys: Uint8Array[], values: Uint8Array[], error: string | undefined): void;

  /** Addresses are `space/id/facet`. */
  open(now: number, address: string, write: boolean): void;
  close(now: number, address: string): void;
  /**
   * Carries a command out (JSON as the HTTP API takes it: who, when and new ids may be left out). `id` names it; one
   * that is known already is not carried out again (`Session::known`). Answers the id, or that of the command that it
   * became part of.
   */
  execute(now: number, address: string, command: string, id: string | undefined): string;
  /** One text edit of many (`Session::execute_typed`). */
  executeTyped(now: number, address: string, command: string, id: string | undefined): string;
  flush(now: number, address: string): void;
  undo(now: number, address: string, id: string | undefined): string;
  redo(now: number, address: string, id: string | undefined): string;
  /** `[undo, redo]`. */
  undoable(address: string): Uint32Array;
  newId(now: number): string;
  taken(now: number, id: string): void;
  dismissed(now: number, id: string): void;
  /** JSON: endings that were not taken: `{id, address, command, resolution}[]`. */
  endings(): string;
  /** JSON: the same of those rolled back and not dismissed. */
  refused(): string;

  /** JSON of what a document shows, `undefined` if it is not read yet. A post, likes or json as the HTTP API shows it (likes with `{count, mine}` for each reaction). */
  view(address: string): string | undefined;
  /** JSON `[id, depth][]` in the order of the thread; `undefined` if the document is not read yet. */
  thread(address: string): string | undefined;
  /** JSON of one comment, without `depth` (which the thread has) and `pending`; `undefined` if there is none. */
  comment(address: string, id: string): string | undefined;
  /** JSON `{id, command}[]`: commands without an end. */
  pending(address: string): string;
  /** One text of a document: `title`, `body`, or a JSON path such as `["notes"]`. */
  text(address: string, place: string): string | undefined;
  caret(address: string, place: string, index: number): string | undefined;
  caretIndex(address: string, place: string, caret: string): number | undefined;
  /** JSON {@link ChangeInfo}[] of the public types. */
  history(address: string): string;
  /** In hexadecimal, sorted. */
  heads(address: string): string[];
  /** JSON: `{documents, live, pending, outbox_bytes, oldest_pending, bytes_sent, bytes_received, next_attempt, refused}`. */
  stats(): string;

  enter(now: number, space: string, visible: boolean): void;
  leave(now: number, space: string): void;
  announce(now: number, space: string, key: string, value: string | undefined, ttlMs: number | undefined): void;
  kick(now: number, space: string, user: string, forMs: number): void;
  /** JSON: the {@link SpaceView} of the public types. */
  space(name: string): string | undefined;
  /** JSON: users. */
  typing(address: string): string;
  /** JSON: {@link RemoteSelection}[] in one text, as far as they can be placed. */
  selections(address: string, place: string): string;

  followFeed(now: number, space: string, newest: number): void;
  leaveFeed(now: number, space: string): void;
  /** JSON: the {@link FeedView} of the public types. */
  feed(space: string): string | undefined;

  /** Answers the reader's number. */
  readStream(now: number, address: string, from: number): number;
  /** JSON `{offset, text, restarted}` of what has come since. */
  takeText(now: number, reader: number): string | undefined;
  /**
   * JSON `{offset, origin, status, failed}`, each `null` if there is none: origin `{producer, asked_by, created}`, status
   * `{interrupted_by, stalled_since, outcome}`, failed `{code, message}`; an outcome is `{type, reason?, address?, comment?}`.
   */
  streamReader(reader: number): string | undefined;
  leaveReading(now: number, reader: number): void;
  writeStream(now: number, address: string, create: boolean, askedBy: string | undefined): void;
  /** How many bytes (UTF-8) were taken. */
  appendStream(now: number, address: string, text: string): number;
  /** JSON of the outcome: `{type, reason?, comment?: {address, comment}}`. */
  endStream(now: number, address: string, outcome: string): void;
  /** JSON `{origin, written, durable, status, failed}`. */
  streamWriter(address: string): string | undefined;
  leaveWriting(address: string): void;
  interruptStream(now: number, address: string): number;
  /** JSON `{ok: true}` or `{code, message}`; `undefined` while there is no answer. */
  interruptAnswer(interrupt: number): string | undefined;
  leaveInterrupt(interrupt: number): void;
  /** The id of the comment that a stream's result is committed as. */
  streamComment(address: string, createdMs: number): string;

  free(): void;
}

/** What the machine asks of the world. */
export type Effect =
  | { kind: "connect"; connection: number }
  | { kind: "send"; connection: number; message: Uint8Array }
  | { kind: "disconnect"; connection: number }
  | { kind: "write"; token: number; keys: Uint8Array[]; values: (Uint8Array | null)[] }
  | { kind: "read"; token: number; prefix: Uint8Array }
  /** `notice` is JSON of a {@link Notice}. */
  | { kind: "notice"; notice: string }
  | { kind: "stop" };

/** What the machine tells the app, after `Notice` of `engine/src/session/contract.rs`. */
export type Notice =
  | { type: "connection"; status: { phase: string; attempt?: number; in_ms?: number; code?: string; message?: string } }
  | { type: "token_wanted" }
  | { type: "document"; address: string; status: { ready: boolean; live: boolean; pending: number; seq: number } }
  | { type: "changed"; address: string; local: boolean; events: DocumentEvent[] }
  | { type: "applied"; id: string; address: string }
  | { type: "resolved"; id: string; address: string; command: unknown; resolution: { type: string; code?: string; message?: string } }
  | { type: "dropped"; id: string; address: string; command: unknown }
  | { type: "space"; space: string; news: { type: string; code?: string; message?: string; user?: string; devices?: number } }
  | { type: "stream"; address: string }
  | { type: "feed"; space: string; changed: string[] }
  | { type: "problem"; address?: string; code: string; message: string };

/** `Event` of `engine/src/document/view.rs`, e.g. `{ type: "body_spliced", index, deleted, inserted }`. */
export type DocumentEvent = { type: string; [field: string]: unknown };

/** What the module exports beside the class. */
export interface EngineModule {
  Engine: {
    /** `config` is JSON `{user, token?, agent}`; keys and values are everything stored under `metaPrefix()`. */
    start(config: string, keys: Uint8Array[], values: Uint8Array[]): Engine;
    /** Under which prefix of the store a session keeps what it is. */
    metaPrefix(): Uint8Array;
  };
}
