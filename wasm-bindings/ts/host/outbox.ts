/** Whose commands are under way: which are stored, how each ended, and whether its app was told. */

import type { Command, Resolution } from "../types.js";
import type { Notice } from "./engine.js";
import type { ClientPort, Ending, FromHost } from "./messages.js";

type Resolved = Extract<Notice, { type: "resolved" }>;

interface World {
  /** Write requests made so far, and how many of these are on disk. */
  readonly asked: () => number;
  readonly written: () => number;
  readonly everyone: (message: FromHost) => void;
  /** The engine need not tell of it any more. */
  readonly taken: (id: string) => void;
}

export class Outbox {
  /** Whose command it is that has no end yet. */
  readonly #owners = new Map<string, ClientPort>();
  /** Endings that the engine was not told are taken. */
  readonly #untaken = new Map<string, { ending: Ending; live: boolean; heard: boolean }>();
  /** Commands that were applied, and how many writes must be on disk for them to be stored. */
  #storing: { readonly id: string; readonly at: number }[] = [];
  /** Applied by what is being done. */
  #applied: string[] = [];
  /** Typed edits that were joined to an earlier one's command. */
  readonly #joined = new Map<string, string[]>();
  /** Commands of which the next change of a document tells. */
  readonly #doing = new Map<string, string[]>();

  constructor(private readonly world: World) {}

  /** A session before this one ended with these untold. */
  begin(endings: readonly Ending[]): void {
    for (const ending of endings) this.#untaken.set(ending.id, { ending, live: false, heard: false });
  }

  own(id: string, port: ClientPort): void {
    this.#owners.set(id, port);
  }

  disown(id: string): void {
    this.#owners.delete(id);
  }

  /** A client is there and hears what was told to nobody. */
  tellUntold(port: ClientPort): void {
    for (const { ending, live } of [...this.#untaken.values()]) {
      if (!live) port.receive({ type: "ending", ending, live });
    }
  }

  /** A client that was with another host has stored commands without an end. */
  expect(port: ClientPort, ids: readonly string[]): void {
    for (const id of ids) {
      this.#owners.set(id, port);
      const ended = this.#untaken.get(id);
      if (ended) port.receive({ type: "ending", ending: ended.ending, live: ended.live });
    }
  }

  leave(port: ClientPort): void {
    for (const [id, owner] of [...this.#owners]) {
      if (owner !== port) continue;
      this.#owners.delete(id);
      if (this.#untaken.get(id)?.heard) this.#taken(id);
    }
  }

  /** Whether a command has come to its end here, and nobody has taken that. */
  has(id: string): boolean {
    return this.#untaken.has(id);
  }

  // ----------------------------------------------------------------------------------- being applied

  applied(id: string, address: string): void {
    this.#applied.push(id);
    const doing = this.#doing.get(address);
    if (doing) doing.push(id);
    else this.#doing.set(address, [id]);
  }

  /** The commands that a change of this device came from. */
  doing(address: string): readonly string[] {
    const ids = this.#doing.get(address) ?? [];
    this.#doing.delete(address);
    return ids;
  }

  /** The engine took a command on, or knew it: one that was known is stored with what is asked of the store by now. */
  accepted(id: string): void {
    if (!this.#storing.some((storing) => storing.id === id)) this.#applied.push(id);
    this.settled();
  }

  /** A typed edit became part of an earlier one's command, and ends with it. */
  join(command: string, id: string): void {
    const joined = this.#joined.get(command);
    if (joined) joined.push(id);
    else this.#joined.set(command, [id]);
  }

  /** All that followed from one input is done. */
  settled(): void {
    const at = this.world.asked();
    for (const id of this.#applied.splice(0)) this.#storing.push({ id, at });
    this.#doing.clear();
    this.tellStored();
  }

  tellStored(): void {
    const written = this.world.written();
    let done = 0;
    while (done < this.#storing.length && this.#storing[done]!.at <= written) done++;
    for (const { id } of this.#storing.splice(0, done)) {
      for (const name of [id, ...this.#joined.get(id) ?? []]) this.#owners.get(name)?.receive({ type: "stored", id: name });
    }
  }

  // ---------------------------------------------------------------------------------- coming to an end

  resolved({ id, address, command, resolution }: Resolved): void {
    this.tellStored();
    const ended = (name: string) => this.#ended({
      id: name, address, command: command as Command, resolution: resolution as Resolution,
    });
    for (const name of this.#joined.get(id) ?? []) ended(name);
    this.#joined.delete(id);
    ended(id);
  }

  #ended(ending: Ending): void {
    // One of a session before is told to whoever listens; its app may not do so yet.
    const live = this.#owners.has(ending.id);
    this.#untaken.set(ending.id, { ending, live, heard: false });
    this.world.everyone({ type: "ending", ending, live });
  }

  /** A client's app was told. Its owner is waited for: who has not heard of it would do it again elsewhere. */
  heard(port: ClientPort, id: string): void {
    const ended = this.#untaken.get(id);
    if (!ended) return;
    ended.heard = true;
    const owner = this.#owners.get(id);
    if (owner === undefined || owner === port) this.#taken(id);
  }

  #taken(id: string): void {
    this.#untaken.delete(id);
    this.#owners.delete(id);
    this.world.taken(id);
  }
}
