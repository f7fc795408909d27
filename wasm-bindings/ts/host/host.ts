/**
 * One engine for all clients of a name: keeps track of what each wants, hands in what they say, and tells them what
 * there is. Ends with its engine; another host begins from the store, and the clients tell it what they want.
 */

import { errorOf, messageOf, SynclineError } from "../errors.js";
import type { Command, ConnectionStatus, Problem, SyncStatus } from "../types.js";
import { readComments, type CommentsUpdate } from "./comments.js";
import { Core, type CoreOptions } from "./core.js";
import { Documents } from "./documents.js";
import type { DocumentEvent, Engine, EngineModule, Notice } from "./engine.js";
import type { ClientPort, Ending, FromHost, Question, ToHost, Topic } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Spaces } from "./spaces.js";
import { Streams, type StreamUpdate } from "./streams.js";
import { Texts } from "./texts.js";
import { Topics, type Watch } from "./topics.js";

/** What a space shows that nobody here is in. */
const APART = JSON.stringify({ phase: "apart", members: [], lastSeen: {} });

interface Client {
  readonly port: ClientPort;
  visible: boolean;
  frames: boolean;
}

export class Host {
  #core!: Core;
  readonly #clients = new Map<ClientPort, Client>();
  readonly #topics = new Topics((topic, watch) => this.#read(topic, watch));
  readonly #documents = new Documents(() => this.#core);
  readonly #spaces = new Spaces((call) => this.#core.happened(call));
  readonly #streams = new Streams(() => this.#core);
  readonly #texts: Texts;
  /** Whose undo or redo is being carried out. */
  #turns: ClientPort | undefined;
  readonly #outbox = new Outbox({
    asked: () => this.#core.asked,
    written: () => this.#core.written,
    everyone: (message) => this.#everyone(message),
    taken: (id) => this.#core.happened((engine, now) => engine.taken(now, id)),
  });
  #connection: ConnectionStatus = { phase: "idle", leads: false };
  #lastDurableAt: number | undefined;
  /** What a client was told last: to connect, or to disconnect. */
  #asked: boolean | undefined;

  /** `died` is told once, if the engine ends by itself. */
  private constructor(private readonly died: (error: SynclineError) => void) {
    this.#texts = new Texts({
      text: (address, place) => this.#core.look((engine) => engine.text(address, place)),
      edit: (port, id, address, place, { index, deleted, inserted }) => {
        const command = JSON.stringify(spliceCommand(address, place, index, deleted, inserted));
        this.#outbox.own(id, port);
        const name = this.#core.input((engine, now) => port.local
          ? engine.executeTyped(now, address, command, id)
          : engine.execute(now, address, command, id));
        if (name !== id) this.#outbox.join(name, id);
        return name;
      },
      failed: (port, id, error) => this.#failed(port, id, error),
    });
  }

  static async start(module: EngineModule, options: CoreOptions, died: (error: SynclineError) => void): Promise<Host> {
    const host = new Host(died);
    host.#core = await Core.start(module, options, {
      notice: (notice) => host.#notice(notice),
      written: () => host.#outbox.tellStored(),
      settled: () => host.#outbox.settled(),
      frame: (direction, bytes) => {
        const at = Date.now();
        for (const { port, frames } of host.#clients.values()) if (frames) port.receive({ type: "frame", direction, bytes, at });
      },
      died: (error) => {
        host.#streams.endAll(error);
        host.#everyone({ type: "ended", code: error.code, message: error.message });
        host.died(error);
      },
    });
    host.#outbox.begin(JSON.parse(host.#core.look((engine) => engine.endings()) ?? "[]") as Ending[]);
    host.#core.happened(() => {});
    return host;
  }

  get alive(): boolean {
    return this.#core.alive;
  }

  /** What it holds, for tests of what is let go of. */
  get counts(): { clients: number; documents: number; topics: number } {
    return { clients: this.#clients.size, documents: this.#documents.size, topics: this.#topics.size };
  }

  setNetwork(network: boolean): void {
    this.#core.happened((engine, now) => engine.setNetwork(now, network));
  }

  /** `asked` is what the app said last, if it said anything: also to this host's next client. */
  setOnline(online: boolean, asked?: boolean): void {
    this.#asked ??= asked;
    this.#core.happened((engine, now) => engine.setOnline(now, online));
  }

  /** Leaves in good order. */
  async stop(): Promise<void> {
    await this.#core.stop();
    this.#streams.endAll(new SynclineError("closed", "the client is closed"));
  }

  /** Leaves at once, for a page that may not run any more. */
  abandon(): void {
    this.#core.happened((engine, now) => engine.setOnline(now, false));
    this.#core.abandon();
  }

  // ------------------------------------------------------------------------------------------- clients

  attach(port: ClientPort, visible: boolean): void {
    this.#clients.set(port, { port, visible, frames: false });
    this.#seen();
    if (this.#asked !== undefined) port.receive({ type: "online", online: this.#asked });
    this.#outbox.tellUntold(port);
  }

  detach(port: ClientPort): void {
    if (!this.#clients.delete(port)) return;
    this.#texts.leaveAll(port);
    this.#spaces.leaveAll(port);
    for (const topic of this.#topics.of(port)) this.#unwatch(port, topic);
    this.#streams.leaveAll(port);
    this.#documents.closeAll(port);
    this.#outbox.leave(port);
    this.#seen();
  }

  /** What is new about something that a client in this tab watches. */
  read(port: ClientPort, topic: Topic): unknown {
    const watch = this.#topics.find(port, topic);
    return watch && this.#read(topic, watch);
  }

  say(port: ClientPort, message: ToHost): void {
    const core = this.#core;
    if (!core.alive || !this.#clients.has(port)) return;
    switch (message.type) {
      case "watch": return this.#watch(port, message.topic, message.wants ?? 0);
      case "unwatch": return this.#unwatch(port, message.topic);
      case "open":
        this.#documents.open(port, message.address);
        return this.#topics.touch(["status", message.address]);
      case "close": return this.#documents.close(port, message.address);
      case "execute": return this.#execute(port, message);
      case "expect": return this.#outbox.expect(port, message.ids);
      case "read_text": return this.#readText(port, message.address, message.place, message.known);
      case "leave_text": return this.#texts.leave(port, message.address, message.place);
      case "edit": return this.#texts.edit(port, message.address, message.place, message.version, message.edits);
      case "flush": return core.happened((engine, now) => engine.flush(now, message.address));
      case "select": return this.#select(port, message);
      case "unselect": return this.#announce(port, spaceOf(message.address), "cursor", undefined, undefined);
      case "heard": return this.#outbox.heard(port, message.id);
      case "dismiss":
        core.happened((engine, now) => engine.dismissed(now, message.id));
        return this.#topics.touch(["refused"]);
      case "enter":
        this.#spaces.enter(port, message.space, message.visible);
        return this.#topics.touch(["space", message.space]);
      case "leave":
        this.#spaces.leave(port, message.space);
        return this.#touchSpace(message.space);
      case "announce": return this.#announce(port, message.space, message.key, message.value, message.ttlMs);
      case "kick": return core.happened((engine, now) => engine.kick(now, message.space, message.user, message.forMs));
      case "resume_stream":
        this.#streams.resume(message.address);
        return this.#topics.touch(["stream", message.address]);
      case "leave_writing": return this.#streams.leaveWriting(port, message.address);
      case "question": return void this.#answer(port, message.number, message.question);
      case "visible": {
        const client = this.#clients.get(port);
        if (client) client.visible = message.visible;
        return this.#seen();
      }
      case "frames": {
        const client = this.#clients.get(port);
        if (client) client.frames = message.wanted;
        return;
      }
      case "online": return this.#online(message.online, message.asked);
      case "token": return core.happened((engine, now) => engine.setToken(now, message.token));
      case "active": return core.happened((engine, now) => engine.active(now));
      case "reconnect": return core.happened((engine, now) => engine.reconnect(now));
      case "tick": return core.happened((engine, now) => engine.tick(now));
      case "bye": return this.detach(port);
    }
  }

  #online(online: boolean, asked: boolean): void {
    if (asked) {
      this.#asked = online;
      this.#everyone({ type: "online", online });
    }
    // A client that has got a token may not know yet that another went offline.
    this.setOnline(online && this.#asked !== false);
  }

  #everyone(message: FromHost): void {
    for (const port of [...this.#clients.keys()]) port.receive(message);
  }

  /** The session is in sight if any client is. */
  #seen(): void {
    const visible = [...this.#clients.values()].some((client) => client.visible);
    if (this.#clients.size > 0) this.#core.happened((engine, now) => engine.setVisible(now, visible));
  }

  // ------------------------------------------------------------------------------------------ commands

  #execute(port: ClientPort, { id, address, command, how }: Extract<ToHost, { type: "execute" }>): void {
    this.#outbox.own(id, port);
    const go = () => {
      // What it does to texts is told before this is over.
      this.#turns = how === "plain" ? undefined : port;
      try {
        this.#core.input((engine, now) => {
          if (how === "plain") engine.execute(now, address, command, id);
          else engine[how](now, address, id);
        });
      } catch (error) {
        this.#failed(port, id, error);
        return;
      } finally {
        this.#turns = undefined;
      }
      this.#outbox.accepted(id);
    };
    this.#documents.whenReady(port, address, go, (error) => this.#failed(port, id, error));
  }

  #failed(port: ClientPort, id: string, error: unknown): void {
    // A dead engine refuses nothing: the command is handed to the next one.
    if (!this.#core.alive) return;
    this.#outbox.disown(id);
    const { code, message } = errorOf(error, "bad_command");
    port.receive({ type: "failed", id, code, message });
  }

  // ------------------------------------------------------------------------------------------- notices

  #notice(notice: Notice): void {
    switch (notice.type) {
      case "connection": return this.#connected(notice.status);
      case "token_wanted": return this.#everyone({ type: "token_wanted" });
      case "document":
        if (this.#documents.told(notice.address, notice.status)) {
          this.#topics.touch(["view", notice.address]);
          this.#topics.touch(["undoable", notice.address]);
        }
        this.#topics.touch(["status", notice.address]);
        this.#touchPending(notice.address);
        return this.#topics.touch(["sync"]);
      case "changed": return this.#changed(notice.address, notice.local, notice.events);
      case "applied":
        this.#outbox.applied(notice.id, notice.address);
        return this.#topics.touch(["undoable", notice.address]);
      case "resolved":
        if (notice.resolution.type === "confirmed") this.#lastDurableAt = Date.now();
        this.#texts.ended(notice.address, notice.id, notice.resolution.type === "confirmed");
        this.#outbox.resolved(notice);
        this.#touchPending(notice.address);
        this.#topics.touch(["refused"]);
        return this.#topics.touch(["sync"]);
      case "dropped": {
        const { id, address, command } = notice;
        const resolution = { type: "refused", code: "local_store", message: "more was rolled back than is kept" } as const;
        this.#everyone({ type: "dropped", refused: { id, address, command: command as Command, resolution } });
        return this.#topics.touch(["refused"]);
      }
      case "space": return this.#touchSpace(notice.space);
      case "stream":
        this.#streams.changed(notice.address);
        this.#topics.touch(["writer", notice.address]);
        return this.#topics.touch(["stream", notice.address]);
      case "feed": return this.#topics.touchAll("feed", (name) => name === notice.space);
      case "problem": {
        const { type: _, ...problem } = notice;
        return this.#problem(problem);
      }
    }
  }

  #problem(problem: Problem): void {
    this.#documents.problem(problem);
    if (problem.address !== undefined) this.#topics.touch(["status", problem.address]);
    this.#topics.touch(["sync"]);
    this.#everyone({ type: "problem", problem });
  }

  #connected(status: Extract<Notice, { type: "connection" }>["status"]): void {
    const { in_ms, phase, ...rest } = status;
    const way = this.#core.way;
    this.#connection = {
      phase: phase as ConnectionStatus["phase"],
      ...rest,
      ...(in_ms === undefined ? {} : { nextAttemptAt: Date.now() + in_ms }),
      ...(phase === "connected" && way ? { transport: way } : {}),
      leads: false,
    };
    this.#topics.touch(["connection"]);
    this.#topics.touch(["sync"]);
  }

  #changed(address: string, local: boolean, events: readonly DocumentEvent[]): void {
    const ids = address.endsWith("/comments") ? events.flatMap(({ id }) => (typeof id === "string" ? [id] : [])) : undefined;
    this.#topics.touch(["view", address], ids);
    this.#topics.touch(["undoable", address]);
    this.#topics.touchAll("selections", (name) => name === address);
    this.#texts.changed(address, events, local ? this.#outbox.doing(address) : [], local ? this.#turns : undefined);
  }

  #touchPending(address: string): void {
    if (address.endsWith("/comments")) this.#topics.touch(["view", address], []);
  }

  #touchSpace(space: string): void {
    const inside = (address: string) => address.startsWith(`${space}/`);
    this.#topics.touch(["space", space]);
    this.#topics.touchAll("typing", inside);
    this.#topics.touchAll("selections", inside);
  }

  // ----------------------------------------------------------------------------- what clients look at

  #watch(port: ClientPort, topic: Topic, wants: number): void {
    const [kind, name = ""] = topic;
    this.#topics.watch(port, topic, wants);
    if (kind === "feed") this.#follow(name);
    else if (kind === "stream") {
      try {
        this.#streams.watch(port, name);
      } catch (error) {
        const { code, message } = errorOf(error, "bad_address");
        port.receive({ type: "problem", problem: { address: name, code, message } });
      }
    }
  }

  #unwatch(port: ClientPort, topic: Topic): void {
    const [kind, name = ""] = topic;
    if (kind === "stream") this.#streams.unwatch(port, name);
    this.#topics.unwatch(port, topic);
    if (kind === "feed") this.#follow(name);
  }

  /** Follows as many posts of a space as any of the clients wants. */
  #follow(space: string): void {
    const newest = this.#topics.wanted("feed", space);
    this.#core.happened((engine, now) => {
      if (newest > 0) engine.followFeed(now, space, newest);
      else engine.leaveFeed(now, space);
    });
  }

  /** What a watcher is to see; JSON as it is, objects, or what has changed of comments and streams. */
  #read(topic: Topic, watch: Watch): unknown {
    watch.dirty = false;
    try {
      return this.#look(topic, watch);
    } catch {
      // A name that is none shows nothing; why, is told where it was opened.
      return undefined;
    }
  }

  #look(topic: Topic, watch: Watch): unknown {
    const [kind, name = "", place = ""] = topic;
    switch (kind) {
      case "connection": return this.#connection;
      case "sync": return this.#sync();
      case "refused": return this.#core.look((engine) => engine.refused());
      case "status": return this.#documents.status(name);
      case "view": return name.endsWith("/comments") ? this.#comments(name, watch) : this.#core.look((engine) => engine.view(name));
      case "undoable": {
        const [undo = 0, redo = 0] = this.#core.look((engine) => engine.undoable(name)) ?? [];
        return { undo, redo };
      }
      case "typing": return this.#core.look((engine) => engine.typing(name));
      case "selections": return this.#core.look((engine) => engine.selections(name, place));
      case "space": return this.#core.look((engine) => engine.space(name) ?? this.#noSpace(name, "outside", { members: [], lastSeen: {} }) ?? APART);
      case "feed": return this.#core.look((engine) => engine.feed(name) ?? this.#noSpace(name, "ended", { posts: [] }));
      case "stream": return this.#streams.read(watch.port, name) ?? this.#noStream(name);
      case "writer": return this.#streams.writer(name);
    }
  }

  /** What is shown of a space whose name is none; `undefined` where it is one. */
  #noSpace(name: string, phase: string, rest: object): string | undefined {
    const why = this.#refusal((engine) => engine.typing(`${name}/rules/json`));
    return why && JSON.stringify({ phase, ...why, ...rest });
  }

  #noStream(address: string): StreamUpdate | undefined {
    const failed = this.#refusal((engine) => engine.streamComment(address, 0));
    return failed && { restarted: true, text: "", state: JSON.stringify({ failed }) };
  }

  /** Why the engine does not take a name. */
  #refusal(look: (engine: Engine) => unknown): { code: string; message: string } | undefined {
    try {
      this.#core.look(look);
      return undefined;
    } catch (error) {
      const { code, message } = errorOf(error, "bad_address");
      return { code, message };
    }
  }

  #comments(address: string, watch: Watch): CommentsUpdate | undefined {
    return this.#core.look((engine) => {
      const update = readComments(engine, address, watch.changed);
      if (update) watch.changed = new Set();
      return update;
    });
  }

  #sync(): SyncStatus | undefined {
    const json = this.#core.look((engine) => engine.stats());
    if (json === undefined) return undefined;
    const stats = JSON.parse(json) as Record<string, number | null>;
    const { documents = 0, live = 0, pending = 0 } = stats as Record<string, number>;
    const { phase, code, message } = this.#connection;
    const connected = phase === "connected";
    const problem = this.#documents.anyProblem() ?? (phase === "failed" && code !== undefined ? { code, message: message ?? code } : undefined);
    return {
      synced: connected && pending === 0 && live === documents,
      offline: !connected && phase !== "connecting" && phase !== "authenticating",
      pending,
      openDocuments: documents,
      liveDocuments: live,
      outboxBytes: stats.outbox_bytes ?? 0,
      bytesSent: stats.bytes_sent ?? 0,
      bytesReceived: stats.bytes_received ?? 0,
      ...(stats.oldest_pending == null ? {} : { oldestPendingAt: stats.oldest_pending }),
      ...(this.#lastDurableAt === undefined ? {} : { lastDurableAt: this.#lastDurableAt }),
      ...(problem ? { problem } : {}),
    };
  }

  #readText(port: ClientPort, address: string, place: string, asked: string[]): void {
    const go = () => {
      let known: string[] = [];
      if (asked.length > 0) {
        const pending = JSON.parse(this.#core.look((engine) => engine.pending(address)) ?? "[]") as { id: string }[];
        const ids = new Set(pending.map(({ id }) => id));
        known = asked.filter((id) => ids.has(id) || this.#outbox.has(id));
      }
      this.#texts.read(port, address, place, known);
    };
    this.#documents.whenReady(port, address, go, () => port.receive({ type: "text", address, place, version: 0, text: null, known: [] }));
  }

  #select(port: ClientPort, { address, place, anchor, head }: Extract<ToHost, { type: "select" }>): void {
    const carets = this.#core.look((engine) => [engine.caret(address, place, anchor), engine.caret(address, place, head)]);
    if (!carets || carets[0] === undefined || carets[1] === undefined) return;
    const at: unknown = place.startsWith("[") ? JSON.parse(place) : place;
    const value = JSON.stringify({ in: address, at, anchor: carets[0], head: carets[1] });
    this.#announce(port, spaceOf(address), "cursor", value, undefined);
  }

  #announce(port: ClientPort, space: string, key: string, value: string | undefined, ttlMs: number | undefined): void {
    this.#spaces.announce(port, space, key, value, ttlMs);
    this.#touchSpace(space);
  }

  async #answer(port: ClientPort, number: number, question: Question): Promise<void> {
    try {
      const value = await this.#ask(port, question);
      port.receive({ type: "answer", number, value });
    } catch (error) {
      // A dead engine refuses nothing: the next one is asked.
      if (!this.#core.alive) return;
      const { code, message } = errorOf(error, "bad_address");
      port.receive({ type: "answer", number, code, message: message || messageOf(error) });
    }
  }

  async #ask(port: ClientPort, question: Question): Promise<unknown> {
    const { address } = question;
    switch (question.ask) {
      case "history": return this.#core.look((engine) => engine.history(address));
      case "heads": return this.#core.look((engine) => engine.heads(address));
      case "comment": return this.#core.look((engine) => engine.streamComment(address, question.created));
      case "interrupt": return await this.#streams.interrupt(address);
      case "write": return await this.#streams.write(port, address, question.create, question.askedBy);
      case "append": return await this.#streams.append(address, question.text);
      case "end": return await this.#streams.end(address, question.outcome);
    }
  }
}

function spaceOf(address: string): string {
  return address.slice(0, Math.max(address.indexOf("/"), 0));
}

function spliceCommand(address: string, place: string, index: number, deleted: number, inserted: string): Command {
  const splice = { index, delete: deleted, insert: inserted };
  return address.endsWith("/post")
    ? { post: { splice: { field: place, ...splice } } }
    : { json: { splice: { path: JSON.parse(place) as unknown, ...splice } } };
}
