/** A store in IndexedDB: one object store of byte keys; batches that wait for each other become one transaction. */

import { SynclineError, messageOf } from "../errors.js";
import type { Storage } from "../types.js";

const ENTRIES = "entries";

type Batch = readonly (readonly [Uint8Array, Uint8Array | null])[];

interface Waiting {
  readonly batch: Batch;
  readonly resolve: () => void;
  readonly reject: (error: SynclineError) => void;
}

/** The page may not have a store on this device, whatever is tried. */
export class Forbidden extends SynclineError {}

export class IndexedDbStorage implements Storage {
  #waiting: Waiting[] = [];
  #writing = 0;
  /** Why nothing can be done any more. */
  #over: SynclineError | undefined;

  private constructor(private readonly database: IDBDatabase) {
    // The user deletes the site's data, or another tab the database: it is not to be blocked.
    database.onversionchange = () => this.#end("the device's store was deleted");
    database.onclose = () => this.#end("the device's store was closed by the browser");
  }

  static open(name: string): Promise<IndexedDbStorage> {
    return new Promise((resolve, reject) => {
      const fail = (why: unknown, Failure = SynclineError) =>
        reject(new Failure("local_store", `the device's store can't be opened: ${messageOf(why)}`));
      let request: IDBOpenDBRequest;
      try {
        request = indexedDB.open(name, 1);
      } catch (error) {
        return fail(error, Forbidden);
      }
      request.onupgradeneeded = () => request.result.createObjectStore(ENTRIES);
      request.onblocked = () => fail("another tab holds an older version of it");
      request.onerror = () => fail(request.error, request.error?.name === "SecurityError" ? Forbidden : SynclineError);
      request.onsuccess = () => resolve(new IndexedDbStorage(request.result));
    });
  }

  read(prefix: Uint8Array): Promise<[Uint8Array, Uint8Array][]> {
    // Transactions run in the order in which they are made.
    this.flush();
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(failure(`the device's store can't be read: ${messageOf(error)}`));
      if (this.#over) return reject(this.#over);
      try {
        const entries = this.database.transaction(ENTRIES, "readonly").objectStore(ENTRIES);
        const keys = entries.getAllKeys(rangeOf(prefix));
        const values = entries.getAll(rangeOf(prefix));
        keys.onerror = () => fail(keys.error);
        values.onerror = () => fail(values.error);
        values.onsuccess = () => resolve(keys.result.map((key, at) => [bytesOf(key), bytesOf(values.result[at])]));
      } catch (error) {
        fail(error);
      }
    });
  }

  write(batch: Batch): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#over);
      this.#waiting.push({ batch, resolve, reject });
      if (this.#writing === 0) this.flush();
    });
  }

  /** Begins everything that was asked for: what has begun survives the page. */
  flush(): void {
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    const fail = (error: unknown) => {
      const failed = failure(`the device's store can't be written: ${messageOf(error)}`);
      for (const { reject } of group) reject(failed);
    };
    let transaction: IDBTransaction | undefined;
    try {
      transaction = this.database.transaction(ENTRIES, "readwrite", { durability: "strict" });
      const entries = transaction.objectStore(ENTRIES);
      for (const { batch } of group) {
        for (const [key, value] of batch) {
          if (value === null) entries.delete(key as BufferSource);
          else entries.put(value, key as BufferSource);
        }
      }
    } catch (error) {
      // All or nothing.
      transaction?.abort();
      return fail(error);
    }
    this.#writing++;
    const done = () => {
      this.#writing--;
      if (this.#writing === 0) this.flush();
    };
    transaction.oncomplete = () => {
      for (const { resolve } of group) resolve();
      done();
    };
    transaction.onabort = () => {
      fail(transaction?.error ?? "the transaction was aborted");
      done();
    };
  }

  close(): Promise<void> {
    this.flush();
    this.database.close();
    this.#over ??= failure("the device's store is closed");
    return Promise.resolve();
  }

  #end(why: string): void {
    this.#over ??= failure(why);
    this.database.close();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#over);
  }
}

function failure(message: string): SynclineError {
  return new SynclineError("local_store", message);
}

function bytesOf(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(value as ArrayBuffer);
}

/** All keys that begin with these bytes. */
function rangeOf(prefix: Uint8Array): IDBKeyRange | undefined {
  if (prefix.length === 0) return undefined;
  const end = prefix.slice();
  for (let at = end.length - 1; at >= 0; at--) {
    if (end[at]! < 0xff) {
      end[at]!++;
      return IDBKeyRange.bound(prefix, end.slice(0, at + 1), false, true);
    }
  }
  return IDBKeyRange.lowerBound(prefix);
}
