/**
 * The public contract of the package: what an app sees, and nothing of how it is done. One concept has one
 * name here, on the wire, and in Rust.
 *
 * Units: times are milliseconds since 1970; positions in text count UTF-16 code units, as JavaScript does;
 * ids are ULIDs in their usual 26 characters.
 */

/** Something that changes and can be looked at: fits `useSyncExternalStore` as it is. */
export interface Store<T> {
  /**
   * What is shown now. The same object until something in it changes; parts that did not change stay the same objects.
   * It is kept up to date while somebody subscribes, and is what it was last otherwise.
   */
  getSnapshot(): T;
  /** What a server renders: never changes, touches no browser API. */
  getServerSnapshot(): T;
  /** Calls `listener` after each change; answers how to stop that. */
  subscribe(listener: () => void): () => void;
}

/** Every error of this package. `code` is stable and the same as on the wire; `message` is a sentence for people. */
export interface SynclineErrorLike extends Error {
  readonly name: "SynclineError";
  readonly code: string;
  /** Whether trying again as it is can never help. */
  readonly fatal: boolean;
  /** After how long it makes sense to try again, where the server said so. */
  readonly retryAfterMs?: number;
}

// ---------------------------------------------------------------------------------------------- client

export type Transport = "auto" | "websocket" | "sse";

/** Where a device keeps what it knows and has not sent: an ordered map of byte strings with atomic batches. */
export interface Storage {
  /** All entries whose key begins with these bytes, in the order of the keys. Sees all writes asked for before. */
  read(prefix: Uint8Array): Promise<[key: Uint8Array, value: Uint8Array][]>;
  /** Writes all or nothing, in order; `null` removes. Resolves when it is durable. */
  write(entries: readonly (readonly [key: Uint8Array, value: Uint8Array | null])[]): Promise<void>;
  close(): Promise<void>;
}

/** What the engine is compiled from. By default the file beside the package's code. */
export type WasmSource = URL | string | Response | BufferSource | WebAssembly.Module;

export interface ClientOptions {
  /** The server, such as `wss://sync.example` or `http://127.0.0.1:4400`. */
  url: string;
  /** Who is here. A server with keys believes only the token. */
  user: string;
  /** What proves it, where the server asks. */
  token?: string;
  /**
   * Asked for a token at the beginning and whenever one runs out or is refused. Answers it none, the connection has
   * `failed` with `unauthenticated`; is it rejected, it is `reconnecting` with that code. Both ways it is asked again.
   */
  getToken?: () => string | Promise<string>;
  /** Default `"indexeddb"` where there is such a thing and the page may use it, else `"memory"`. */
  storage?: "indexeddb" | "memory" | Storage;
  /** Tells clients of one origin apart that are to share nothing. Default: made of `url` and `user`. */
  name?: string;
  /** Default `"auto"`: WebSocket, and server-sent events where that is blocked. */
  transport?: Transport;
  /** Whether the tabs of a browser share one connection and one store. Default `true` where the platform can. */
  shareTabs?: boolean;
  /** Whether to connect at once. Default `true`. */
  online?: boolean;
  wasm?: WasmSource | Promise<WasmSource>;
  /** Default: the platform's. Where there is none (Node before 22), `"auto"` goes by server-sent events. */
  webSocket?: new (url: string, protocols?: string | string[]) => WebSocket;
  /** For the server's logs. */
  agent?: string;
}

export type ConnectionPhase =
  | "idle" | "offline" | "paused" | "connecting" | "authenticating" | "connected" | "reconnecting" | "failed";

export interface ConnectionStatus {
  readonly phase: ConnectionPhase;
  /** While reconnecting: which attempt comes next; 1 is the first. */
  readonly attempt?: number;
  /** While reconnecting: when it is made. */
  readonly nextAttemptAt?: number;
  /** Once failed or closed (`closed`), and why it is reconnecting where that is known. */
  readonly code?: string;
  readonly message?: string;
  /** How it goes to the server while connected. */
  readonly transport?: Exclude<Transport, "auto">;
  /** Whether this tab holds the connection; another tab of the browser does otherwise. */
  readonly leads: boolean;
}

export interface SyncStatus {
  /** In contact, nothing pending, every open document caught up. */
  readonly synced: boolean;
  readonly offline: boolean;
  /** Commands without an end, over all documents and tabs; this tab's count at once. */
  readonly pending: number;
  readonly oldestPendingAt?: number;
  /** When the server last confirmed a command of this device. */
  readonly lastDurableAt?: number;
  readonly openDocuments: number;
  readonly liveDocuments: number;
  readonly outboxBytes: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** What keeps something from being in sync. */
  readonly problem?: Problem;
}

export interface Problem {
  readonly address?: string;
  readonly code: string;
  readonly message: string;
}

/** How a command ended. */
export type Resolution =
  | { readonly type: "confirmed" }
  | { readonly type: "no_effect" }
  | { readonly type: "superseded" }
  | { readonly type: "refused"; readonly code: string; readonly message: string };

/**
 * A command on its way. The view shows it before this is there; in a tab that does not lead, a moment later. As a promise it tells how the command ended
 * and is rejected with a {@link SynclineErrorLike} if it was not taken on at all; nobody has to wait for it.
 */
export interface Pending extends PromiseLike<Resolution> {
  /** The command's name, which it keeps across reloads. */
  readonly id: string;
  /** Resolves when the command is on this device's disk: from then on it survives the tab. */
  readonly stored: Promise<void>;
}

/** A command that was rolled back and is kept with its content until it is dismissed. */
export interface RefusedCommand {
  readonly id: string;
  readonly address: string;
  readonly command: Command;
  readonly resolution: Exclude<Resolution, { type: "confirmed" }>;
}

/** Any command, as JSON: the same as the HTTP API takes, e.g. `{ comments: { add: { body: "Hi" } } }`. */
export type Command = Readonly<Record<string, unknown>>;

export interface ClientEvents {
  /** A command came to its end; told once for each, also in the next session if this one ended first. */
  resolved: { id: string; address: string; command: Command; resolution: Resolution };
  /** The same, only those that did not stand. */
  rolledBack: RefusedCommand;
  problem: Problem;
  /** The token has run out or will soon, and there is no `getToken`. */
  tokenWanted: undefined;
  /** A frame went over the wire, for inspectors. */
  frame: { direction: "in" | "out"; bytes: number; at: number };
}

export interface Client {
  readonly user: string;
  readonly url: string;
  /** Resolves once the engine runs (here or in the leading tab); rejected with `no_webassembly`, `engine_unavailable`, `local_store`, … */
  readonly ready: Promise<void>;
  readonly connection: Store<ConnectionStatus>;
  readonly sync: Store<SyncStatus>;
  /** Rolled back and not dismissed. */
  readonly refused: Store<readonly RefusedCommand[]>;

  /** `address` is `space/id`. A handle is cheap; the document is open while somebody subscribes to it or calls its commands. */
  post(address: string): Post;
  likes(address: string): Likes;
  comments(address: string): Comments;
  /** `address` is `space/id`, of the schemaless document. */
  document(address: string): JsonDocument;
  space(name: string): Space;
  feed(space: string, options?: { newest?: number }): Feed;
  /** `address` is `space/id`. */
  stream(address: string): StreamReader;
  /** Makes a stream, or goes on with one that this user has made; rejected with `stream_ended` once it has ended. */
  createStream(address: string, options?: { askedBy?: string }): Promise<StreamWriter>;
  resumeStream(address: string): Promise<StreamWriter>;

  /** A new ULID, larger than any made here before. */
  newId(): string;
  /** This and `disconnect` count for all tabs of the client, whichever leads: the last call in any of them. */
  connect(): void;
  disconnect(): void;
  /** Tries now instead of at the next attempt. */
  reconnect(): void;
  setToken(token: string): void;
  /** The user did something in the app: counts as active in spaces. */
  active(): void;
  dismiss(id: string): void;
  on<E extends keyof ClientEvents>(event: E, listener: (detail: ClientEvents[E]) => void): () => void;
  /** For inspectors: the changes of an open document, oldest first. */
  history(address: string): Promise<readonly ChangeInfo[]>;
  /** The hashes of the newest changes in hexadecimal, sorted: equal heads mean equal documents. */
  heads(address: string): Promise<readonly string[]>;
  /** Leaves in good order. What is stored is sent next time. */
  close(): Promise<void>;
}

export interface ChangeInfo {
  readonly hash: string;
  readonly deps: readonly string[];
  readonly actor: string;
  readonly seq: number;
  readonly at: number;
  readonly ops: number;
  readonly pending: boolean;
}

// ------------------------------------------------------------------------------------------- documents

export interface DocumentStatus {
  /** Read from the device's store: can be looked at and edited. */
  readonly ready: boolean;
  /** Caught up with the server. */
  readonly live: boolean;
  /** Commands of this device without an end. */
  readonly pending: number;
  /** Up to which seq the server's log is known. */
  readonly seq: number;
  /** Why it can't be opened or synced. */
  readonly problem?: Problem;
}

export interface DocumentHandle<T> extends Store<T> {
  /** `space/id/facet`. */
  readonly address: string;
  /** Up to date while somebody subscribes to it or to the document. */
  readonly status: Store<DocumentStatus>;
  /** Resolves once it is read from the store; rejected if it can't be opened. */
  readonly ready: Promise<void>;
  command(command: Command): Pending;
  undo(): Pending;
  redo(): Pending;
  readonly undoable: Store<{ readonly undo: number; readonly redo: number }>;
}

export type PostStatus = "published" | "hidden" | "deleted";
export type TextField = "title" | "body";
export type MarkName = "bold" | "italic" | "link" | "code";

export interface Span {
  readonly text: string;
  readonly marks: Readonly<Partial<Record<MarkName, boolean | string>>>;
}

export interface PostView {
  /** `null` until somebody created it. */
  readonly author: string | null;
  readonly created: number | null;
  readonly status: PostStatus;
  readonly title: string;
  readonly body: string;
  readonly spans: readonly Span[];
  readonly tags: readonly string[];
  readonly editors: readonly string[];
}

/** One replacement in a text. Positions count in the text as the edits before it left it. */
export interface Splice {
  readonly index: number;
  readonly deleted: number;
  readonly inserted: string;
}

/** A text that several edit at once, for an editor that holds its own copy. */
export interface TextBinding {
  /** The text as it is with everything that was typed here. */
  readonly text: string;
  /**
   * Someone else's edits, in positions of {@link text} as it was before them; or, if `turned`, what an undo or redo of
   * this client did.
   */
  onSplices(listener: (splices: readonly Splice[], turned: boolean) => void): () => void;
  /**
   * This user's edit, which begins and ends between characters (`bad_command`), of a document that is `ready`
   * (`bad_command` before). Many in a row become few changes.
   */
  splice(index: number, deleted: number, inserted: string): void;
  /** Ends what is gathered: when the editor loses the focus. */
  flush(): void;
  close(): void;
}

export interface RemoteSelection {
  readonly device: number;
  readonly user: string;
  readonly anchor: number;
  readonly head: number;
}

export interface Post extends DocumentHandle<PostView> {
  create(post: { title: string; body?: string; tags?: readonly string[] }): Pending;
  splice(field: TextField, index: number, deleted: number, inserted: string): Pending;
  mark(start: number, end: number, name: MarkName, value?: string | true): Pending;
  unmark(start: number, end: number, name: MarkName): Pending;
  addTag(tag: string): Pending;
  removeTag(tag: string): Pending;
  addEditor(user: string): Pending;
  removeEditor(user: string): Pending;
  setStatus(status: PostStatus): Pending;
  text(field: TextField): TextBinding;
  /** Where others are in a text. Needs the space to be entered. */
  selections(field: TextField): Store<readonly RemoteSelection[]>;
  /** Shows others where this user is; `null` takes it back. */
  select(field: TextField, selection: { anchor: number; head: number } | null): void;
}

export interface Reaction {
  readonly count: number;
  readonly mine: boolean;
}

export interface LikesView {
  /** By target (`post` or a comment's id), then by reaction. */
  readonly targets: Readonly<Record<string, Readonly<Record<string, Reaction>>>>;
  readonly counters: Readonly<Record<"views" | "shares", number>>;
}

export interface Likes extends DocumentHandle<LikesView> {
  /** `target` is `post` (the default) or a comment's id; `reaction` defaults to `like`. */
  like(target?: string, reaction?: string): Pending;
  unlike(target?: string, reaction?: string): Pending;
  /** Whichever of the two it is not, also to what was said here and is not shown yet: twice at once ends where it began. */
  toggle(target?: string, reaction?: string): Pending;
  count(counter: "views" | "shares", by?: number): Pending;
}

export interface Comment {
  readonly id: string;
  /** 0 for one that answers the post. */
  readonly depth: number;
  readonly parent: string | null;
  readonly author: string;
  readonly created: number;
  readonly edited: number | null;
  readonly deleted: number | null;
  /** `null` once deleted. */
  readonly body: string | null;
  /** Whether a command of this device about it has no end yet. */
  readonly pending: boolean;
}

export interface CommentsView {
  /** Those that are not deleted. */
  readonly count: number;
  /** In the order of the thread. */
  readonly thread: readonly Comment[];
}

export interface Comments extends DocumentHandle<CommentsView> {
  add(body: string, options?: { parent?: string; id?: string }): Pending;
  edit(id: string, body: string): Pending;
  delete(id: string): Pending;
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type Path = readonly (string | number)[];

export interface JsonDocument extends DocumentHandle<Json> {
  put(path: Path, value: Json): Pending;
  putText(path: Path, text: string): Pending;
  putCounter(path: Path, value: number): Pending;
  delete(path: Path): Pending;
  insert(path: Path, index: number, value: Json): Pending;
  splice(path: Path, index: number, deleted: number, inserted: string): Pending;
  increment(path: Path, by: number): Pending;
  text(path: Path): TextBinding;
  selections(path: Path): Store<readonly RemoteSelection[]>;
  select(path: Path, selection: { anchor: number; head: number } | null): void;
}

// --------------------------------------------------------------------------------- presence and streams

export interface Member {
  readonly user: string;
  readonly role: string;
  readonly active: boolean;
  readonly since: number;
  readonly devices: number;
  /** What was announced last under each key on any device, parsed as JSON where it is. */
  readonly says: Readonly<Record<string, Json>>;
}

export type SpacePhase = "apart" | "entering" | "inside" | "outside";

export interface SpaceView {
  readonly phase: SpacePhase;
  /** While inside. */
  readonly role?: string;
  readonly device?: number;
  /** While outside; `bad_address` where the name is none. */
  readonly code?: string;
  readonly message?: string;
  readonly members: readonly Member[];
  /** Where there are too many to name them all. */
  readonly crowd?: { readonly devices: number; readonly users: number; readonly idle: number; readonly typing: number };
  /** When users who are gone were there last. */
  readonly lastSeen: Readonly<Record<string, number>>;
}

export interface Space extends Store<SpaceView> {
  readonly name: string;
  /** Entered while at least one call stands; answers how to leave again. */
  enter(options?: { visible?: boolean }): () => void;
  /** Tells the others something under a key of yours; `undefined` takes it back. JSON of at most 1 KiB. */
  announce(key: string, value: Json | undefined, options?: { ttlMs?: number }): void;
  /** This user types in a document (`space/id/facet`); lapses by itself. */
  setTyping(address: string, typing: boolean): void;
  /** Who else types there. */
  typing(address: string): Store<readonly string[]>;
  kick(user: string, forMs: number): void;
}

export interface StreamView {
  readonly phase: "waiting" | "streaming" | "stalled" | "interrupted" | "ended" | "failed";
  readonly text: string;
  readonly producer?: string;
  readonly askedBy?: string;
  readonly created?: number;
  readonly interruptedBy?: string;
  readonly outcome?: { readonly type: "finished"; readonly comment?: string } | { readonly type: "failed"; readonly reason: string }
    | { readonly type: "interrupted" } | { readonly type: "abandoned" };
  /** Why it can't be read. */
  readonly code?: string;
  readonly message?: string;
}

export interface StreamReader extends Store<StreamView> {
  readonly address: string;
  /** Asks whoever writes it to stop; resolves when that is stored. */
  interrupt(): Promise<void>;
  /** After it failed: reads again from where it is. */
  resume(): void;
}

export interface StreamWriter {
  readonly address: string;
  /** How long it is with everything that was appended, in bytes of UTF-8: from where on to say more after `resumeStream`. */
  readonly written: number;
  /** Resolves when it may be gone on: waits while the reader's side or the disk is behind. Rejected with `stream_ended` after the end. */
  append(text: string): Promise<void>;
  /** Resolves with who asked for it to stop; never if nobody does. */
  readonly interrupted: Promise<string>;
  /** Resolves when it is stored with all that was appended; rejected with `stream_ended` if somebody else has ended it. */
  finish(options?: { commit?: { address: string; parent?: string } }): Promise<void>;
  fail(reason: string): Promise<void>;
  /** Leaves it open: `resumeStream` goes on with it. */
  leave(): void;
}

export interface PostSummary {
  readonly id: string;
  readonly active: number;
  readonly author: string;
  readonly created: number;
  readonly status: PostStatus;
  readonly title: string;
  readonly likes: number;
  readonly reactions: Readonly<Record<string, number>>;
  /** Comments that are not deleted. */
  readonly comments: number;
  /** Comments that are. */
  readonly deleted: number;
}

export interface FeedView {
  readonly phase: "waiting" | "live" | "ended";
  readonly code?: string;
  readonly message?: string;
  /** The most recently active first. */
  readonly posts: readonly PostSummary[];
}

export interface Feed extends Store<FeedView> {
  readonly space: string;
}
