/** A client: handles for everything, made when they are asked for, over whichever host there is. */

import { Commands } from "./commands.js";
import { Connector } from "./connector.js";
import { CommentsHandle } from "./documents/comments.js";
import { parsed, type Parts } from "./documents/handle.js";
import { JsonHandle } from "./documents/json.js";
import { LikesHandle } from "./documents/likes.js";
import { PostHandle } from "./documents/post.js";
import { SynclineError } from "./errors.js";
import { FeedHandle } from "./feed.js";
import type { FromHost, HostPort } from "./host/messages.js";
import { listen, platform } from "./host/platform.js";
import { canRun, withoutWebAssembly } from "./host/wasm.js";
import { Link } from "./link.js";
import { SpaceHandle } from "./space.js";
import { Listeners, TopicStore, unref } from "./store.js";
import { StreamHandle, Writer } from "./stream.js";
import { Tokens, type Tokenless } from "./tokens.js";
import type {
  ChangeInfo, Client, ClientEvents, ClientOptions, Comments, ConnectionStatus, Feed, JsonDocument, Likes, Post,
  RefusedCommand, Space, StreamReader, StreamWriter, SyncStatus,
} from "./types.js";
import { Ulids } from "./ulid.js";

const BEGINNING: ConnectionStatus = { phase: "idle", leads: false };
const NOTHING: SyncStatus = {
  synced: false, offline: true, pending: 0, openDocuments: 0, liveDocuments: 0, outboxBytes: 0, bytesSent: 0, bytesReceived: 0,
};
const NONE: readonly RefusedCommand[] = [];
/** How often a follower in sight has the leader look at its clock. */
const POKE_MS = 1_000;

export class SynclineClient implements Client {
  readonly user: string;
  readonly url: string;
  readonly connection: TopicStore<ConnectionStatus>;
  readonly sync: TopicStore<SyncStatus>;
  readonly refused: TopicStore<readonly RefusedCommand[]>;
  readonly #link = new Link(() => this.#begin());
  readonly #ids = new Ulids();
  readonly #events: { [E in keyof ClientEvents]: Listeners<[ClientEvents[E]]> } = {
    resolved: new Listeners(), rolledBack: new Listeners(), problem: new Listeners(), tokenWanted: new Listeners(),
    frame: new Listeners(),
  };
  readonly #parts: Parts;
  readonly #handles = new Map<string, WeakRef<object>>();
  readonly #inside = new Set<SpaceHandle>();
  readonly #writers = new Set<Writer>();
  readonly #connector: Connector;
  readonly #tokens: Tokens | undefined;
  readonly #ready: Promise<void>;
  #isReady!: () => void;
  #isFailed!: (error: SynclineError) => void;
  #token: string | undefined;
  #begun = false;
  #closing: Promise<void> | undefined;
  #unlisten: (() => void) | undefined;
  #releases: (() => void)[] = [];
  /** What the host says of all tabs' commands; it may not have heard of this tab's last ones. */
  #told: SyncStatus = NOTHING;
  /** How the host says that the connection is, and what is to be said instead while there is no token to connect with. */
  #heard: ConnectionStatus = BEGINNING;
  #tokenless: ConnectionStatus | undefined;
  #suspended = false;
  /** No host has said yet that it heard the last `connect` or `disconnect`. */
  #unheard = false;
  #poke: ReturnType<typeof setInterval> | undefined;
  #visible = platform().document?.visibilityState !== "hidden";

  constructor(options: ClientOptions) {
    this.user = options.user;
    this.url = options.url;
    this.#token = options.token;
    this.#ready = new Promise((resolve, reject) => {
      this.#isReady = resolve;
      this.#isFailed = reject;
    });
    // Who asks for it decides whether a failure is of interest.
    this.#ready.catch(() => {});
    const link = this.#link;
    this.#parts = { link, ids: this.#ids, commands: new Commands(link, this.#ids, this.#events, () => this.sync.told(this.#told)), texts: new Map() };
    this.connection = link.store({ topic: ["connection"], initial: BEGINNING, reduce: (old, told) => this.#connected(old, told) });
    this.sync = link.store({ topic: ["sync"], initial: NOTHING, reduce: (old, told) => this.#synced(old, told) });
    this.refused = link.store({ topic: ["refused"], initial: NONE, reduce: parsed });
    link.handle((message) => this.#receive(message));
    link.onAttach(() => this.#resume());
    const { getToken } = options;
    this.#tokens = getToken && new Tokens(getToken, (token) => this.setToken(token), (why) => this.#withoutToken(why));
    this.#connector = new Connector(this.#ids.next(), options, {
      attach: (port, leads) => this.#attach(port, leads),
      detach: () => link.detach(),
      receive: link.receive,
      failed: (error) => this.#failed(error),
      token: () => this.#token,
      mayConnect: () => !this.#tokens || this.#token !== undefined,
      visible: () => this.#visible,
    });
    // A page that was loaded sends what is pending. On a server nothing begins before it is used.
    if (platform().document) queueMicrotask(() => this.#begin());
  }

  get ready(): Promise<void> {
    this.#begin();
    return this.#ready;
  }

  // ------------------------------------------------------------------------------------------ handles

  post(address: string): Post {
    return this.#handle(`${address}/post`, (name) => new PostHandle(this.#parts, name));
  }

  likes(address: string): Likes {
    return this.#handle(`${address}/likes`, (name) => new LikesHandle(this.#parts, name));
  }

  comments(address: string): Comments {
    return this.#handle(`${address}/comments`, (name) => new CommentsHandle(this.#parts, name));
  }

  document(address: string): JsonDocument {
    return this.#handle(`${address}/json`, (name) => new JsonHandle(this.#parts, name));
  }

  space(name: string): Space {
    return this.#handle(`${name}/`, () => {
      const space: SpaceHandle = new SpaceHandle(this.#link, name, (inside) => {
        if (inside) this.#inside.add(space);
        else this.#inside.delete(space);
      });
      return space;
    });
  }

  feed(space: string, options: { newest?: number } = {}): Feed {
    return this.#handle(`${space}/ ${options.newest ?? ""}`, () => new FeedHandle(this.#link, space, options.newest));
  }

  stream(address: string): StreamReader {
    return this.#handle(`${address}/stream`, (name) => new StreamHandle(this.#link, name));
  }

  createStream(address: string, options: { askedBy?: string } = {}): Promise<StreamWriter> {
    return Writer.open(this.#link, `${address}/stream`, true, options.askedBy, (at) => this.comments(at), this.#writers);
  }

  resumeStream(address: string): Promise<StreamWriter> {
    return Writer.open(this.#link, `${address}/stream`, false, undefined, (at) => this.comments(at), this.#writers);
  }

  // ---------------------------------------------------------------------------------------- the client

  newId(): string {
    return this.#ids.next();
  }

  connect(): void {
    this.#online(true);
  }

  disconnect(): void {
    this.#online(false);
  }

  reconnect(): void {
    this.#tokens?.now();
    this.#link.send({ type: "reconnect" });
  }

  setToken(token: string): void {
    const first = this.#token === undefined;
    this.#token = token;
    this.#tokenless = undefined;
    this.connection.told(this.#heard);
    this.#link.send({ type: "token", token });
    if (first && this.#tokens && this.#connector.online) this.#link.send({ type: "online", online: true, asked: false });
  }

  active(): void {
    this.#link.send({ type: "active" });
  }

  dismiss(id: string): void {
    this.#link.send({ type: "dismiss", id });
  }

  on<E extends keyof ClientEvents>(event: E, listener: (detail: ClientEvents[E]) => void): () => void {
    const listeners: Listeners<[ClientEvents[E]]> = this.#events[event];
    const remove = listeners.add(listener);
    if (event === "resolved" || event === "rolledBack") this.#parts.commands.listened();
    if (event !== "frame") return remove;
    this.#wantFrames();
    return () => {
      remove();
      this.#wantFrames();
    };
  }

  async history(address: string): Promise<readonly ChangeInfo[]> {
    return JSON.parse(await this.#link.ask({ ask: "history", address }) as string) as ChangeInfo[];
  }

  async heads(address: string): Promise<readonly string[]> {
    return await this.#link.ask({ ask: "heads", address }) as string[];
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** What it holds, for tests of what is let go of. */
  get counts(): { documents: number; topics: number; questions: number; commands: number; texts: number } {
    return { ...this.#link.counts, commands: this.#parts.commands.size, texts: this.#parts.texts.size };
  }

  /** What this tab's host holds, where it leads; for the same tests. */
  get hostCounts(): { clients: number; documents: number; topics: number } | undefined {
    return this.#connector.host?.counts;
  }

  /** Stops as a tab does that crashes: without a word, and without the store hearing any more. For tests. */
  crash(): void {
    this.#unlisten?.();
    this.#tokens?.stop();
    clearInterval(this.#poke);
    this.#closing = Promise.resolve();
    this.#connector.crash();
    this.#link.closed();
  }

  async #close(): Promise<void> {
    for (const text of this.#parts.texts.values()) text.flush();
    this.#unlisten?.();
    this.#tokens?.stop();
    clearInterval(this.#poke);
    await this.#connector.stop();
    for (const release of this.#releases.splice(0)) release();
    this.#link.closed();
    this.#tokenless = undefined;
    const { code, message } = this.#link.over!;
    this.connection.told({ ...BEGINNING, code, message });
    this.#isFailed(this.#link.over!);
  }

  #begin(): void {
    if (this.#begun || this.#closing || this.#suspended) return;
    this.#begun = true;
    if (!canRun()) return this.#failed(withoutWebAssembly());
    // These two are of interest as long as the client is there.
    this.#releases = [this.connection.hold(), this.sync.hold()];
    this.#unlisten = listen({
      visible: (visible) => {
        this.#visible = visible;
        if (!visible) for (const text of this.#parts.texts.values()) text.flush();
        this.#link.send({ type: "visible", visible });
      },
      network: (network) => this.#connector.setNetwork(network),
      suspend: () => {
        if (this.#suspended) return;
        this.#suspended = true;
        for (const text of this.#parts.texts.values()) text.flush();
        this.#connector.suspend();
      },
      resume: () => {
        if (!this.#suspended) return;
        this.#suspended = false;
        this.#connector.start();
      },
    });
    if (this.#token === undefined) this.#tokens?.want();
    this.#connector.start();
  }

  #online(online: boolean): void {
    this.#connector.asked = online;
    this.#unheard = true;
    this.connection.told(this.#heard);
    this.#link.send({ type: "online", online, asked: true });
  }

  /** Each frame is a message to another tab: only where somebody looks. */
  #wantFrames(): void {
    this.#link.send({ type: "frames", wanted: this.#events.frame.size > 0 });
  }

  #attach(port: HostPort, leads: boolean): void {
    this.#link.attach(port);
    clearInterval(this.#poke);
    if (!leads) {
      // The leading tab may be out of sight, where timers are slow.
      this.#poke = setInterval(() => {
        if (this.#visible) this.#link.send({ type: "tick" });
      }, POKE_MS);
      unref(this.#poke);
    }
    if (leads) this.connection.dirty();
    this.#isReady();
  }

  #resume(): void {
    this.#link.send({ type: "visible", visible: this.#visible });
    if (this.#unheard) this.#link.send({ type: "online", online: this.#connector.online, asked: true });
    if (this.#events.frame.size > 0) this.#wantFrames();
    for (const space of this.#inside) space.resume();
    for (const text of this.#parts.texts.values()) text.resume();
    for (const writer of this.#writers) writer.resume();
  }

  #failed(error: SynclineError): void {
    this.#isFailed(error);
    this.#link.end(error);
    this.connection.told({ phase: "failed", code: error.code, message: error.message, leads: false });
    this.sync.told({ ...this.#told, synced: false, offline: true, problem: { code: error.code, message: error.message } });
    this.#events.problem.tell({ code: error.code, message: error.message });
  }

  #synced(old: SyncStatus, told: unknown): SyncStatus {
    this.#told = told as SyncStatus;
    const { synced, pending } = this.#told;
    const own = this.#parts.commands.size;
    return parsed(old, { ...this.#told, synced: synced && own === 0, pending: Math.max(pending, own) });
  }

  #connected(old: ConnectionStatus, told: unknown): ConnectionStatus {
    this.#heard = told as ConnectionStatus;
    const { phase, code } = this.#heard;
    const leads = this.#link.local;
    if (phase === "idle" && code === undefined && this.#tokenless && this.#connector.online) {
      return parsed(old, { ...this.#tokenless, leads });
    }
    const status = parsed(old, { ...this.#heard, leads });
    if (phase === "connected") this.#tokens?.accepted();
    else if (status !== old && (code === "unauthenticated" || code === "token_expired")) this.#tokens?.want();
    return status;
  }

  #withoutToken({ message: why, again }: Tokenless): void {
    const problem = { code: "unauthenticated", message: `there is no token: ${why}` };
    const retry = again && { attempt: again.attempt, nextAttemptAt: again.at };
    this.#tokenless = { phase: again ? "reconnecting" : "failed", ...problem, ...retry, leads: false };
    this.connection.told(this.#heard);
    this.#events.problem.tell(problem);
  }

  #receive(message: FromHost): void {
    switch (message.type) {
      case "problem": return this.#events.problem.tell(message.problem);
      case "token_wanted":
        if (this.#tokens) this.#tokens.want();
        else this.#events.tokenWanted.tell(undefined);
        return;
      case "frame": {
        const { type: _, ...frame } = message;
        return this.#events.frame.tell(frame);
      }
      case "online":
        this.#connector.asked = message.online;
        this.#unheard = false;
        return this.connection.told(this.#heard);
      case "dropped": return this.#events.rolledBack.tell(message.refused);
    }
  }

  /** The handle of a name: the same one for as long as somebody has it. */
  #handle<T extends object>(name: string, make: (name: string) => T): T {
    const known = this.#handles.get(name)?.deref();
    if (known) return known as T;
    const handle = make(name);
    this.#handles.set(name, new WeakRef(handle));
    if (this.#handles.size % 256 === 0) {
      for (const [key, ref] of this.#handles) if (!ref.deref()) this.#handles.delete(key);
    }
    return handle;
  }
}
