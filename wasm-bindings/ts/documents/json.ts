/** A schemaless document: maps, lists, texts, counters and plain values. */

import type { Json, JsonDocument, Path, Pending, RemoteSelection, Store, TextBinding } from "../types.js";
import { Handle, parsed, type Parts } from "./handle.js";

const EMPTY: Json = {};

export class JsonHandle extends Handle<Json> implements JsonDocument {
  constructor(parts: Parts, address: string) {
    super(parts, address, EMPTY, parsed);
  }

  put(path: Path, value: Json): Pending {
    return this.#do({ put: { path, value } });
  }

  putText(path: Path, text: string): Pending {
    return this.#do({ put_text: { path, text } });
  }

  putCounter(path: Path, value: number): Pending {
    return this.#do({ put_counter: { path, value } });
  }

  delete(path: Path): Pending {
    return this.#do({ delete: { path } });
  }

  insert(path: Path, index: number, value: Json): Pending {
    return this.#do({ insert: { path, index, value } });
  }

  splice(path: Path, index: number, deleted: number, inserted: string): Pending {
    return this.#do({ splice: { path, index, delete: deleted, insert: inserted } });
  }

  increment(path: Path, by: number): Pending {
    return this.#do({ increment: { path, by } });
  }

  text(path: Path): TextBinding {
    return this.bind(JSON.stringify(path));
  }

  selections(path: Path): Store<readonly RemoteSelection[]> {
    return this.selectionsIn(JSON.stringify(path));
  }

  select(path: Path, selection: { anchor: number; head: number } | null): void {
    this.selectIn(JSON.stringify(path), selection);
  }

  #do(json: Record<string, unknown>): Pending {
    return this.command({ json });
  }
}
