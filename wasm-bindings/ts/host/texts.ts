/**
 * The texts that editors hold copies of: keeps each text with everything that was typed, numbers what happens to it,
 * and transforms clients' edits against what they had not seen. Knows no documents but by their events.
 */

import { apply, compose, diff, ofSplice, toSplices, transform, type Op } from "../ot.js";
import { SynclineError } from "../errors.js";
import type { Splice } from "../types.js";
import { Ulids } from "../ulid.js";
import type { DocumentEvent } from "./engine.js";
import type { ClientPort, Edit } from "./messages.js";

/** Operations that are remembered for clients that have not seen them; who is further behind reads the text anew. */
const REMEMBERED_MAX = 1_024;

/** What a text is changed through. */
export interface TextEngine {
  text(address: string, place: string): string | undefined;
  /** Carries an edit out as a command, at once or as one of many; answers the command's name. */
  edit(port: ClientPort, id: string, address: string, place: string, splice: Splice): string;
  failed(port: ClientPort, id: string, error: unknown): void;
}

interface Past {
  readonly op: Op;
  /** Whose edit it was: it has it already. */
  readonly by: ClientPort | undefined;
}

/** Where a version comes from. */
interface Origin {
  readonly by?: ClientPort;
  readonly own?: { readonly id: string; readonly command: string };
  readonly turns?: ClientPort | undefined;
}

class Text {
  readonly readers = new Set<ClientPort>();
  version = 0;
  /** The operations that led to the last versions. */
  readonly past: Past[] = [];
  /** Commands whose edits are in `text` and not in the document's view yet. */
  readonly ahead = new Set<string>();

  constructor(readonly address: string, readonly place: string, public text: string) {}

  /** What happened after a version, or `undefined` if that is forgotten. */
  since(version: number): readonly Past[] | undefined {
    const count = this.version - version;
    if (count < 0 || count > this.past.length) return undefined;
    return count === 0 ? [] : this.past.slice(-count);
  }

  /** Makes the next version. Of an edit, `by` is whose it is, and `own` what it is called; of an undo or redo, `turns` is whose it is. */
  step(op: Op, { by, own, turns }: Origin = {}): void {
    const text = apply(this.text, op);
    if (text === undefined) return;
    this.text = text;
    this.version++;
    this.past.push({ op, by });
    if (this.past.length > REMEMBERED_MAX) this.past.shift();
    const { address, place, version } = this;
    for (const reader of this.readers) {
      if (reader === by && own) reader.receive({ type: "edited", address, place, version, ...own });
      else reader.receive({ type: "op", address, place, version, op, turned: reader === turns });
    }
  }
}

export class Texts {
  readonly #texts = new Map<string, Text>();
  readonly #ids = new Ulids();

  constructor(private readonly engine: TextEngine) {}

  /** A client begins to hold a copy; `known` are its edits that are in it. */
  read(port: ClientPort, address: string, place: string, known: string[]): void {
    const key = keyOf(address, place);
    let text = this.#texts.get(key);
    if (!text) {
      const shown = this.engine.text(address, place);
      if (shown === undefined) {
        port.receive({ type: "text", address, place, version: 0, text: null, known });
        return;
      }
      text = new Text(address, place, shown);
      this.#texts.set(key, text);
    }
    text.readers.add(port);
    port.receive({ type: "text", address, place, version: text.version, text: text.text, known });
  }

  leave(port: ClientPort, address: string, place: string): void {
    const key = keyOf(address, place);
    const text = this.#texts.get(key);
    if (!text) return;
    text.readers.delete(port);
    if (text.readers.size === 0) this.#texts.delete(key);
  }

  leaveAll(port: ClientPort): void {
    for (const { address, place } of [...this.#texts.values()]) this.leave(port, address, place);
  }

  /** A client's edits: each made on what the one before it left, and the first on a version of the text. */
  edit(port: ClientPort, address: string, place: string, version: number, edits: readonly Edit[]): void {
    const text = this.#texts.get(keyOf(address, place));
    if (!text) return;
    const past = text.since(version);
    if (!past) return tell(port, text);
    // One by one, as the client transforms what it hears: composed, they would not tell as well what was where.
    const unseen = past.filter(({ by }) => by !== port).map((one) => one.op);
    for (const { id, op } of edits) {
      let fits = op;
      unseen.forEach((one, at) => { [unseen[at], fits] = transform(one, fits) as [Op, Op]; });
      if (this.#carryOut(text, port, id, fits)) continue;
      // What comes after it was made on top of it: the client makes it again on what it is told.
      return tell(port, text);
    }
  }

  #carryOut(text: Text, port: ClientPort, id: string, op: Op): boolean {
    let done: Op = [];
    let part = id;
    try {
      if (apply(text.text, op) === undefined) throw new SynclineError("bad_command", "the edit lies outside of the text");
      toSplices(op).forEach((splice, at) => {
        // A removal that was torn apart by what somebody put into it makes more than one command.
        const name = at === 0 ? id : this.#ids.next();
        text.ahead.add(name);
        const command = this.engine.edit(port, name, text.address, text.place, splice);
        if (command !== name && text.ahead.delete(name)) text.ahead.add(command);
        if (at === 0) part = command;
        done = compose(done, ofSplice(splice));
      });
    } catch (error) {
      text.ahead.delete(id);
      if (done.length > 0) text.step(done);
      this.engine.failed(port, id, error);
      return false;
    }
    text.step(done, { by: port, own: { id, command: part } });
    return true;
  }

  /** Whether a document's view changed in a text that somebody holds, and how; `turns` is who undid or redid something by it. */
  changed(address: string, events: readonly DocumentEvent[], commands: readonly string[], turns?: ClientPort): void {
    for (const text of this.#texts.values()) {
      if (text.address !== address) continue;
      // The gathered edits are carried out before anything else changes the document.
      const own = commands.length > 0 && commands.some((id) => text.ahead.delete(id));
      if (own) continue;
      for (const op of text.ahead.size > 0 ? this.#diffed(text) : this.#told(text, events)) text.step(op, { turns });
    }
  }

  /** A command has come to its end; one that was to be carried out later may have been rolled back before it was. */
  ended(address: string, id: string, confirmed: boolean): void {
    for (const text of this.#texts.values()) {
      if (text.address === address && text.ahead.delete(id) && !confirmed) for (const op of this.#diffed(text)) text.step(op);
    }
  }

  #told(text: Text, events: readonly DocumentEvent[]): Op[] {
    const name = spliceOf(text.place);
    if (name === undefined) return this.#diffed(text);
    const ops: Op[] = [];
    for (const event of events) {
      if (event.type === name) ops.push(ofSplice(event as unknown as Splice));
      else if (event.type === "post_created" || event.type === "post_removed") return this.#diffed(text);
    }
    return ops;
  }

  #diffed(text: Text): Op[] {
    const shown = this.engine.text(text.address, text.place);
    if (shown === undefined) return [];
    const op = diff(text.text, shown);
    return op.length > 0 ? [op] : [];
  }
}

function keyOf(address: string, place: string): string {
  return `${address} ${place}`;
}

function spliceOf(place: string): string | undefined {
  return place === "title" ? "title_spliced" : place === "body" ? "body_spliced" : undefined;
}

/** A client that can't go on from where it was hears how the text is, with all of its edits that became versions. */
function tell(port: ClientPort, { address, place, version, text }: Text): void {
  port.receive({ type: "text", address, place, version, text, known: "edited" });
}
