/**
 * A text that several edit at once, for editors with copies of their own. The host decides the order; what was typed
 * here and has not become a version of the host's is transformed against what has, and the other way round.
 */

import { SynclineError } from "./errors.js";
import type { Edit, FromHost } from "./host/messages.js";
import type { Link } from "./link.js";
import { apply, compose, diff, invert, ofSplice, toSplices, transform, type Op } from "./ot.js";
import { Listeners, unref } from "./store.js";
import type { Splice, TextBinding } from "./types.js";
import type { Ulids } from "./ulid.js";

/** What is typed after an edit was sent to another tab is gathered for so long. */
const WINDOW_MS = 250;

interface Kept {
  /** The command that the edit is part of. */
  readonly id: string;
  /** Takes the edit back, after the ones behind it were. */
  inverse: Op;
  stored: boolean;
}

/** One text of a client, for all of its bindings. */
export class SharedText {
  text = "";
  /** The host's text at `version`, without what is on its way to it. */
  #base = "";
  #version: number | undefined;
  /** Whether the host has said how the text is, to `none` that there is none. */
  #read: "never" | "none" | "once" = "never";
  /** Edits that became versions and may not be on disk: another host might not know them. */
  #kept: Kept[] = [];
  /** Edits on their way, each on top of the one before. */
  #sent: { id: string; op: Op }[] = [];
  /** What was typed since. */
  #typed: Op = [];
  #sentAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #bindings = new Set<Binding>();
  readonly #unhandle: () => void;
  #over = false;

  constructor(
    private readonly link: Link,
    private readonly ids: Ulids,
    readonly address: string,
    readonly place: string,
    private readonly gone: () => void,
  ) {
    this.#unhandle = link.handle((message) => this.#receive(message));
    link.open(address);
    this.resume();
  }

  bind(): TextBinding {
    const binding = new Binding(this);
    this.#bindings.add(binding);
    return binding;
  }

  /** Asks the host for the text, the first time and after it has changed. */
  resume(): void {
    this.#version = undefined;
    const known = [...this.#kept, ...this.#sent].map(({ id }) => id);
    this.link.send({ type: "read_text", address: this.address, place: this.place, known });
  }

  splice(from: Binding, index: number, deleted: number, typed: string): void {
    // A host in this tab answers at once; in another it may have, and what is typed meanwhile is kept.
    const unread = this.#read === "none" || (this.#read === "never" && (this.link.local || !this.link.attached));
    if (unread && !this.link.over) {
      throw new SynclineError("bad_command", "the text is not read yet, or is not there: wait for the document's `ready`");
    }
    // What is no character has no place in a text: the engine puts this one for it, of the same length.
    const inserted = typed.replace(HALVES, "\ufffd");
    const splice = { index, deleted, inserted };
    const op = ofSplice(splice);
    const text = apply(this.text, op);
    if (text === undefined || !isCount(index) || !isCount(deleted) || index > this.text.length) {
      throw new SynclineError("bad_command", `no edit at ${index} of ${deleted} in a text of ${this.text.length}`);
    }
    if (isWithin(this.text, index) || isWithin(this.text, index + deleted)) {
      throw new SynclineError("bad_command", `an edit at ${index} of ${deleted} tears a character apart`);
    }
    this.text = text;
    this.#typed = compose(this.#typed, op);
    for (const binding of this.#bindings) if (binding !== from) binding.heard.tell([splice], false);
    this.#send(false);
  }

  /** Sends what is gathered, and has the host carry out what it gathers. */
  flush(): void {
    this.#send(true);
    this.link.send({ type: "flush", address: this.address });
  }

  leave(binding: Binding): void {
    this.flush();
    this.#bindings.delete(binding);
    this.#endIfDone();
  }

  #endIfDone(): void {
    const waits = this.#kept.length > 0 || this.#sent.length > 0 || this.#typed.length > 0;
    if (this.#over || this.#bindings.size > 0 || (waits && !this.link.over)) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#unhandle();
    this.link.send({ type: "leave_text", address: this.address, place: this.place });
    this.link.close(this.address);
    this.gone();
  }

  #send(now: boolean): void {
    if (this.#typed.length === 0 || this.#sent.length > 0 || this.#version === undefined) return;
    const wait = this.link.local || now ? 0 : this.#sentAt + WINDOW_MS - Date.now();
    if (wait > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#send(true);
      }, wait);
      unref(this.#timer);
      return;
    }
    this.#sentAt = Date.now();
    this.#sent = toSplices(this.#typed).map((splice) => ({ id: this.ids.next(), op: ofSplice(splice) }));
    this.#typed = [];
    this.#say();
  }

  #say(): void {
    if (this.#version === undefined || this.#sent.length === 0) return;
    const edits: Edit[] = this.#sent.map(({ id, op }) => ({ id, op }));
    this.link.send({ type: "edit", address: this.address, place: this.place, version: this.#version, edits });
  }

  #receive(message: FromHost): void {
    if ("address" in message && (message.address !== this.address || !("place" in message) || message.place !== this.place)) return;
    switch (message.type) {
      case "text": return this.#told(message);
      case "op":
        if (this.#version === undefined) return;
        this.#version = message.version;
        this.#base = apply(this.#base, message.op) ?? this.#base;
        return this.#foreign(message.op, message.turned);
      case "edited": return this.#edited(message);
      case "stored": {
        for (const kept of this.#kept) kept.stored ||= kept.id === message.id;
        while (this.#kept[0]?.stored) this.#kept.shift();
        return this.#endIfDone();
      }
      case "failed": return this.#failed(message.id, message);
      case "ended": return this.#endIfDone();
    }
  }

  /** An own edit has become a version. */
  #edited({ id, command, version }: Extract<FromHost, { type: "edited" }>): void {
    const first = this.#sent[0];
    if (first?.id !== id) return;
    this.#sent.shift();
    this.#keep({ id: command, op: first.op });
    this.#version = version;
    if (this.#sent.length === 0) this.#send(false);
    this.#endIfDone();
  }

  #keep({ id, op }: { id: string; op: Op }): void {
    const after = apply(this.#base, op);
    if (after === undefined) return;
    this.#kept.push({ id, inverse: invert(this.#base, op), stored: false });
    this.#base = after;
  }

  /** An own edit was not taken on: what it did is taken back here, and what was typed on top of it stays. */
  #failed(id: string, { code, message }: { code: string; message: string }): void {
    const at = this.#sent.findIndex((sent) => sent.id === id);
    if (at < 0) return;
    const before = this.#sent.slice(0, at).reduce<string | undefined>((text, { op }) => text && apply(text, op), this.#base) ?? "";
    const [failed] = this.#sent.splice(at, 1);
    this.#pass(invert(before, failed!.op), at);
    this.link.receive({ type: "problem", problem: { address: this.address, code, message } });
    this.#endIfDone();
  }

  /** How the host's text is: the first time, after a change of hosts, or because the two lost each other. */
  #told({ text, version, known }: Extract<FromHost, { type: "text" }>): void {
    if (this.#read !== "once") this.#read = text === null ? "none" : "once";
    if (text === null) return;
    if (known !== "edited") {
      const has = new Set(known);
      const missing = this.#kept.findIndex(({ id }) => !has.has(id));
      if (missing >= 0) {
        // The host before took these and did not get to storing them.
        for (const { id, inverse } of this.#kept.splice(missing).reverse()) {
          // Of those that were to be one command each becomes its own.
          const name = this.#sent.some((sent) => sent.id === id) ? this.ids.next() : id;
          this.#sent.unshift({ id: name, op: invert(this.#base, inverse) });
          this.#base = apply(this.#base, inverse) ?? this.#base;
        }
      } else {
        while (this.#sent.length > 0 && has.has(this.#sent[0]!.id)) this.#keep(this.#sent.shift()!);
      }
    }
    const op = diff(this.#base, text);
    this.#base = text;
    this.#version = version;
    this.#foreign(op);
    this.#sent = this.#sent.filter((sent) => sent.op.length > 0);
    if (this.#sent.length > 0) this.#say();
    else this.#send(true);
  }

  /** Somebody else's operation on the host's text, which has it already. */
  #foreign(op: Op, turned = false): void {
    if (op.length === 0) return;
    let past = op;
    for (const kept of this.#kept.slice().reverse()) [past, kept.inverse] = transform(past, kept.inverse);
    this.#pass(op, 0, turned);
  }

  /** Takes an operation through what is on its way from a place in it, and shows it. */
  #pass(op: Op, from: number, turned = false): void {
    let rest = op;
    for (const sent of this.#sent.slice(from)) [rest, sent.op] = transform(rest, sent.op);
    [rest, this.#typed] = transform(rest, this.#typed);
    const text = apply(this.text, rest);
    if (text === undefined || rest.length === 0) return;
    this.text = text;
    const splices = toSplices(rest);
    for (const binding of [...this.#bindings]) binding.heard.tell(splices, turned);
  }
}

class Binding implements TextBinding {
  readonly heard = new Listeners<[readonly Splice[], boolean]>();
  #closed = false;

  constructor(private readonly shared: SharedText) {}

  get text(): string {
    return this.shared.text;
  }

  onSplices(listener: (splices: readonly Splice[], turned: boolean) => void): () => void {
    return this.heard.add(listener);
  }

  splice(index: number, deleted: number, inserted: string): void {
    if (this.#closed) throw new SynclineError("closed", "the binding is closed");
    if (deleted === 0 && inserted === "") return;
    this.shared.splice(this, index, deleted, inserted);
  }

  flush(): void {
    this.shared.flush();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.shared.leave(this);
  }
}

/** Halves of surrogate pairs without their others. */
const HALVES = /\p{Surrogate}/gu;

/** Whether a place lies between the two halves of a character. */
function isWithin(text: string, index: number): boolean {
  return (text.codePointAt(index - 1) ?? 0) > 0xffff;
}

function isCount(number: number): boolean {
  return Number.isInteger(number) && number >= 0;
}
