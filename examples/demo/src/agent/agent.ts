/**
 * The demo agent: a second user in this page, who answers questions by canned sentences, word by word, through
 * the same streams that a model's answer would take. It is nobody outside of this page: whoever asks runs it.
 */
import type { Client, Comment, StreamWriter } from "syncline";
import { answer, nextWord } from "./answers.js";

export const AGENT = "demo-agent";
/** Under which key it tells everybody what it is saying. */
export const ANSWERING = "answering";
/** How an answer ends that was interrupted: what is asked to go on begins after it. */
const BROKEN_OFF = " …";
const STREAMS_MAX = 3;
/** Between two words, in milliseconds: at least, and by chance so much more. */
const PACE = { least: 25, more: 60 };

/** An answer under way, as it is announced and remembered. */
export interface Answering {
  readonly stream: string;
  readonly post: string;
  /** The comment that it answers. */
  readonly parent: string;
  /** What was asked. */
  readonly question: string;
  /** From where on the answer is to be said: the rest was said before. */
  readonly from: number;
}

type Announced = Pick<Answering, "stream" | "post" | "parent">;

export class Agent {
  readonly #space: string;
  readonly #askedBy: string;
  readonly #open: (user: string) => Client;
  readonly #underWay = new Map<string, Answering>();
  #client: Client | undefined;

  constructor(space: string, askedBy: string, open: (user: string) => Client) {
    this.#space = space;
    this.#askedBy = askedBy;
    this.#open = open;
  }

  /** Goes on with what this page had begun to say when it was closed. */
  recover(): void {
    for (const begun of this.#remembered()) {
      // Another tab may be the one that is saying it.
      const name = `${AGENT}:${begun.stream}`;
      void navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
        if (lock === null) return;
        const client = await this.#ready();
        const writer = await client.resumeStream(begun.stream);
        await this.#say(client, writer, begun);
      }).catch(() => this.#forget(begun));
    }
  }

  /** Answers a comment. Resolves when the answer has begun. */
  async ask(post: string, question: Comment, thread: readonly Comment[]): Promise<void> {
    if (this.#underWay.size >= STREAMS_MAX) throw new Error("the demo agent answers three questions at a time");
    const client = await this.#ready();
    const stream = `${this.#space}/${client.newId()}`;
    const begun: Answering = { stream, post, parent: question.id, ...asked(question, thread) };
    const writer = await client.createStream(stream, { askedBy: this.#askedBy });
    this.#remember(begun);
    const saying = navigator.locks.request(`${AGENT}:${stream}`, () => this.#say(client, writer, begun));
    // The stream says to everybody how it ended.
    saying.catch(() => undefined);
  }

  async #ready(): Promise<Client> {
    if (this.#client === undefined) {
      this.#client = this.#open(AGENT);
      this.#client.space(this.#space).enter();
    }
    await this.#client.ready;
    return this.#client;
  }

  async #say(client: Client, writer: StreamWriter, begun: Answering): Promise<void> {
    this.#underWay.set(begun.stream, begun);
    this.#announce(client);
    const question = heard(client, begun);
    const whole = answer(begun.question).slice(begun.from);
    let stopped = false;
    void writer.interrupted.then(() => { stopped = true; });
    try {
      // The answers are ASCII: a letter is a byte.
      while (writer.written < whole.length && !stopped) {
        await writer.append(nextWord(whole, writer.written));
        await pause();
      }
      if (stopped) await writer.append(BROKEN_OFF);
      await question.there;
      await writer.finish({ commit: { address: begun.post, parent: begun.parent } });
    } finally {
      question.forget();
      this.#forget(begun);
      this.#announce(client);
    }
  }

  #announce(client: Client): void {
    const answers = [...this.#underWay.values()].map(({ stream, post, parent }): Announced => ({ stream, post, parent }));
    client.space(this.#space).announce(ANSWERING, answers.length === 0 ? undefined : answers.map((one) => ({ ...one })));
  }

  #remembered(): readonly Answering[] {
    try {
      return JSON.parse(localStorage.getItem(this.#key) ?? "[]") as Answering[];
    } catch {
      return [];
    }
  }

  #remember(begun: Answering): void {
    localStorage.setItem(this.#key, JSON.stringify([...this.#remembered(), begun]));
  }

  #forget({ stream }: Answering): void {
    this.#underWay.delete(stream);
    localStorage.setItem(this.#key, JSON.stringify(this.#remembered().filter((other) => other.stream !== stream)));
  }

  get #key(): string {
    return `syncline-demo-agent:${this.#space}:${this.#askedBy}`;
  }
}

/** Whether an answer was broken off and can be gone on with. */
export function isBrokenOff(comment: Comment): boolean {
  return comment.author === AGENT && comment.body?.endsWith(BROKEN_OFF) === true;
}

/** What others announced that the agent is saying about a post. */
export function answersTo(post: string, said: unknown): readonly Announced[] {
  if (!Array.isArray(said)) return [];
  return said.filter((one): one is Announced => {
    const { stream, post: about, parent } = (one ?? {}) as Partial<Announced>;
    return typeof stream === "string" && typeof parent === "string" && about === post;
  });
}

/** The question, and how much of the answer stands above already. */
function asked(comment: Comment, thread: readonly Comment[]): Pick<Answering, "question" | "from"> {
  let from = 0;
  let at: Comment | undefined = comment;
  while (at !== undefined && isBrokenOff(at)) {
    from += (at.body ?? "").length - BROKEN_OFF.length;
    const parent: string | null = at.parent;
    at = thread.find((other) => other.id === parent);
  }
  return { question: at?.body ?? "", from };
}

/** Keeps a post's comments open for the agent, and tells when the one that it answers has come to it. */
function heard(client: Client, { post, parent }: Answering): { there: Promise<void>; forget(): void } {
  const comments = client.comments(post);
  let forget = (): void => {};
  const there = new Promise<void>((resolve) => {
    const look = () => {
      if (comments.getSnapshot().thread.some(({ id }) => id === parent)) resolve();
    };
    forget = comments.subscribe(look);
    look();
  });
  return { there, forget };
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PACE.least + Math.random() * PACE.more));
}
