/** What the handles of all kinds of documents have in common. */

import type { Commands } from "../commands.js";
import { SynclineError } from "../errors.js";
import type { How } from "../host/messages.js";
import type { Link } from "../link.js";
import { share } from "../share.js";
import { reached, type TopicStore } from "../store.js";
import { SharedText } from "../text.js";
import type {
  Command, DocumentHandle, DocumentStatus, Pending, RemoteSelection, Store, TextBinding,
} from "../types.js";
import type { Ulids } from "../ulid.js";

const UNREAD: DocumentStatus = { ready: false, live: false, pending: 0, seq: 0 };
const NOTHING = { undo: 0, redo: 0 };
const NOWHERE: readonly RemoteSelection[] = [];

/** What handles are made of. */
export interface Parts {
  readonly link: Link;
  readonly commands: Commands;
  readonly ids: Ulids;
  /** The texts that somebody holds, by address and place. */
  readonly texts: Map<string, SharedText>;
}

/** The value of JSON that the host says, with the parts that are the same as before. */
export function parsed<T>(old: T, told: unknown): T {
  return share(old, (typeof told === "string" ? JSON.parse(told) : told) as T);
}

export abstract class Handle<T> implements DocumentHandle<T> {
  readonly address: string;
  readonly status: Store<DocumentStatus>;
  readonly undoable: Store<{ readonly undo: number; readonly redo: number }>;
  protected readonly parts: Parts;
  readonly #view: TopicStore<T>;
  readonly #status: TopicStore<DocumentStatus>;
  readonly getSnapshot: () => T;
  readonly getServerSnapshot: () => T;
  readonly subscribe: (listener: () => void) => () => void;

  constructor(parts: Parts, address: string, initial: T, reduce: (old: T, told: unknown) => T) {
    const { link } = parts;
    this.parts = parts;
    this.address = address;
    this.#view = link.store({ topic: ["view", address], initial, reduce, document: address });
    this.#status = link.store({ topic: ["status", address], initial: UNREAD, reduce: parsed, document: address });
    this.status = this.#status;
    this.undoable = link.store({ topic: ["undoable", address], initial: NOTHING, reduce: parsed, document: address });
    ({ getSnapshot: this.getSnapshot, getServerSnapshot: this.getServerSnapshot } = this.#view);
    // Who looks at a document expects to be told truly where it stands, too.
    this.subscribe = (listener) => {
      const releases = [this.#view.subscribe(listener), this.#status.hold()];
      return () => releases.forEach((release) => release());
    };
  }

  get ready(): Promise<void> {
    const ready = reached(this.parts.link, this.#status, ({ ready, problem }) => {
      if (!ready && problem) throw new SynclineError(problem.code, problem.message);
      return ready;
    });
    // Who asks for it decides whether a failure is of interest.
    ready.catch(() => {});
    return ready;
  }

  command(command: Command): Pending {
    return this.#execute(command, "plain");
  }

  undo(): Pending {
    return this.#execute({}, "undo");
  }

  redo(): Pending {
    return this.#execute({}, "redo");
  }

  protected bind(place: string): TextBinding {
    const { link, ids, texts } = this.parts;
    const key = `${this.address} ${place}`;
    let text = texts.get(key);
    if (!text) texts.set(key, (text = new SharedText(link, ids, this.address, place, () => texts.delete(key))));
    return text.bind();
  }

  protected selectionsIn(place: string): Store<readonly RemoteSelection[]> {
    return this.parts.link.store({
      topic: ["selections", this.address, place], initial: NOWHERE, reduce: parsed, document: this.address,
    });
  }

  protected selectIn(place: string, selection: { anchor: number; head: number } | null): void {
    const { address } = this;
    if (selection) this.parts.link.send({ type: "select", address, place, anchor: selection.anchor, head: selection.head });
    else this.parts.link.send({ type: "unselect", address });
  }

  #execute(command: Command, how: How): Pending {
    // A command may name places in a text: those with everything that was typed before.
    for (const text of this.parts.texts.values()) if (text.address === this.address) text.flush();
    return this.parts.commands.execute(this.address, command, how, () => {
      const releases = [this.#view.hold(), this.#status.hold()];
      return () => releases.forEach((release) => release());
    });
  }
}
