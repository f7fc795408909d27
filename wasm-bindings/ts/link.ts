/**
 * What a client wants of its host, whichever that is at the moment: it is told again to each next one. Everything is
 * sent through here, and what comes is handed to whom it concerns.
 */

import { closed, SynclineError } from "./errors.js";
import { keyOf, type FromHost, type HostPort, type Question, type ToHost, type Topic } from "./host/messages.js";
import { TopicStore, type TopicOptions } from "./store.js";

type Handler = (message: FromHost) => void;

/** What a link knows of a store. */
export interface Watched {
  readonly topic: Topic;
  readonly wants: number | undefined;
  dirty(): void;
  told(value: unknown): void;
  drop(): void;
}

interface Asked {
  readonly question: Question;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: SynclineError) => void;
}

export class Link {
  #port: HostPort | undefined;
  #over: SynclineError | undefined;
  /** Open documents, and how many hold each open. */
  readonly #documents = new Map<string, number>();
  readonly #watched = new Map<string, Watched>();
  readonly #stores = new Map<string, WeakRef<Watched>>();
  readonly #handlers = new Set<Handler>();
  readonly #resumers: (() => void)[] = [];
  readonly #asked = new Map<number, Asked>();
  #questions = 0;

  /** `begin` is called when something is wanted for the first time. */
  constructor(private readonly begin: () => void) {}

  get local(): boolean {
    return this.#port?.local ?? false;
  }

  get attached(): boolean {
    return this.#port !== undefined;
  }

  /** Why there will be no host any more. */
  get over(): SynclineError | undefined {
    return this.#over;
  }

  /** What is open and watched, for tests of what is let go of. */
  get counts(): { documents: number; topics: number; questions: number } {
    return { documents: this.#documents.size, topics: this.#watched.size, questions: this.#asked.size };
  }

  // ---------------------------------------------------------------------------------------- the host

  attach(port: HostPort): void {
    this.detach();
    this.#port = port;
    for (const address of this.#documents.keys()) port.send({ type: "open", address });
    for (const { topic, wants } of this.#watched.values()) port.send({ type: "watch", topic, wants });
    const unanswered = [...this.#asked];
    for (const resume of this.#resumers) resume();
    for (const [number, { question }] of unanswered) port.send({ type: "question", number, question });
  }

  detach(): void {
    this.#port = undefined;
    for (const [number, { question, reject }] of [...this.#asked]) {
      if (!isOnce(question)) continue;
      this.#asked.delete(number);
      reject(detached());
    }
  }

  /** There will be no host any more. */
  end(error: SynclineError): void {
    this.#over ??= error;
    this.#port = undefined;
    for (const { reject } of this.#asked.values()) reject(this.#over);
    this.#asked.clear();
    for (const store of [...this.#watched.values()]) store.drop();
    for (const handler of this.#handlers) handler({ type: "ended", code: error.code, message: error.message });
  }

  readonly receive = (message: FromHost): void => {
    switch (message.type) {
      case "dirty":
        this.#watched.get(keyOf(message.topic))?.dirty();
        return;
      case "update":
        this.#watched.get(keyOf(message.topic))?.told(message.value);
        return;
      case "answer": {
        const asked = this.#asked.get(message.number);
        this.#asked.delete(message.number);
        if (message.code === undefined) asked?.resolve(message.value);
        else asked?.reject(new SynclineError(message.code, message.message ?? message.code));
        return;
      }
      default:
        for (const handler of this.#handlers) handler(message);
    }
  };

  /** Sends something, if there is a host: what must not be lost is said again by a resumer. */
  send(message: ToHost): void {
    this.begin();
    this.#port?.send(message);
  }

  read(topic: Topic): unknown {
    return this.#port?.local ? this.#port.read(topic) : undefined;
  }

  ask(question: Question): Promise<unknown> {
    if (this.#over) return Promise.reject(this.#over);
    if (isOnce(question) && !this.#port) return Promise.reject(detached());
    return new Promise((resolve, reject) => {
      const number = ++this.#questions;
      this.#asked.set(number, { question, resolve, reject });
      this.send({ type: "question", number, question });
    });
  }

  /** Hears what is not about a topic; the answer ends that. */
  handle(handler: Handler): () => void {
    this.#handlers.add(handler);
    return () => void this.#handlers.delete(handler);
  }

  /** Is called for each next host, once documents and topics are told. */
  onAttach(resume: () => void): void {
    this.#resumers.push(resume);
  }

  // --------------------------------------------------------------------------------- what is wanted

  open(address: string): void {
    const holds = this.#documents.get(address) ?? 0;
    this.#documents.set(address, holds + 1);
    if (holds === 0) this.send({ type: "open", address });
  }

  close(address: string): void {
    const holds = this.#documents.get(address) ?? 0;
    if (holds > 1) {
      this.#documents.set(address, holds - 1);
    } else if (this.#documents.delete(address)) {
      this.#port?.send({ type: "close", address });
    }
  }

  watch(store: Watched): void {
    this.#watched.set(keyOf(store.topic), store);
    this.send({ type: "watch", topic: store.topic, wants: store.wants });
  }

  unwatch(store: Watched): void {
    if (this.#watched.delete(keyOf(store.topic))) this.#port?.send({ type: "unwatch", topic: store.topic });
  }

  /** The store of a topic: one for all who look, for as long as somebody has it. */
  store<T>(options: TopicOptions<T>): TopicStore<T> {
    const key = keyOf(options.topic);
    const known = this.#stores.get(key)?.deref();
    // A topic has one type of value, whoever looks at it.
    if (known) return known as TopicStore<T>;
    const store = new TopicStore<T>(this, options);
    this.#stores.set(key, new WeakRef<Watched>(store));
    this.#sweep();
    return store;
  }

  #sweep(): void {
    if (this.#stores.size % 256 !== 0) return;
    for (const [key, store] of this.#stores) if (!store.deref()) this.#stores.delete(key);
  }

  /** A client that was closed wants nothing. */
  closed(): void {
    this.end(closed());
  }
}

/**
 * What was appended is not asked for again of another host, which may have it; nor the end, before which it comes.
 * Everything else can be asked twice.
 */
function isOnce({ ask }: Question): boolean {
  return ask === "append" || ask === "end";
}

function detached(): SynclineError {
  return new SynclineError("detached", "the tab that held the connection is gone");
}
