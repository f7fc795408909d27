/** Two editors and a host that hears them late, in every order: they end the same, and nothing is there twice. */

import { expect, test } from "vitest";

import type { FromHost, ClientPort, ToHost } from "../ts/host/messages.js";
import { Texts } from "../ts/host/texts.js";
import { Link } from "../ts/link.js";
import { apply, ofSplice } from "../ts/ot.js";
import { SharedText } from "../ts/text.js";
import type { Splice, TextBinding } from "../ts/types.js";
import { Ulids } from "../ts/ulid.js";
import { between, random, randomText, type Pick } from "./support/random.js";

const ADDRESS = "town/square/post";

/** A document as its store would have it: a text, and which commands are in it. */
class Disk {
  text = "";
  readonly known = new Set<string>();
}

/** A host without an engine: a command is a replacement, and is stored when `store` says so. */
class TestHost {
  text: string;
  readonly known: Set<string>;
  readonly #unstored: { id: string; port: ClientPort }[] = [];
  refuse = false;
  readonly texts = new Texts({
    text: () => this.text,
    edit: (port, id, _address, _place, splice) => {
      if (this.refuse) throw new Error("forbidden: not now");
      if (this.known.has(id)) return id;
      this.known.add(id);
      this.text = apply(this.text, ofSplice(splice))!;
      this.#unstored.push({ id, port });
      this.texts.changed(ADDRESS, [{ type: "body_spliced", ...splice }], [id]);
      return id;
    },
    failed: (port, id, error) => {
      port.receive({ type: "failed", id, code: "forbidden", message: String(error) });
    },
  });

  constructor(readonly disk: Disk) {
    this.text = disk.text;
    this.known = new Set(disk.known);
  }

  say(port: ClientPort, message: ToHost): void {
    if (message.type === "read_text") {
      this.texts.read(port, message.address, message.place, message.known.filter((id) => this.known.has(id)));
    } else if (message.type === "edit") {
      this.texts.edit(port, message.address, message.place, message.version, message.edits);
    } else if (message.type === "leave_text") {
      this.texts.leave(port, message.address, message.place);
    }
  }

  /** Somebody far away. */
  foreign(splice: Splice): void {
    this.text = apply(this.text, ofSplice(splice))!;
    this.texts.changed(ADDRESS, [{ type: "body_spliced", ...splice }], []);
    this.store();
  }

  store(): void {
    this.disk.text = this.text;
    for (const { id, port } of this.#unstored.splice(0)) {
      this.disk.known.add(id);
      port.receive({ type: "stored", id });
    }
  }
}

/** A client whose messages wait until they are delivered, in order. */
class Editor {
  readonly link: Link;
  readonly shared: SharedText;
  readonly binding: TextBinding;
  /** What an editor with a copy of its own shows. */
  copy = "";
  up: ToHost[] = [];
  down: FromHost[] = [];
  #host: TestHost | undefined;
  #port: ClientPort | undefined;

  constructor() {
    this.link = new Link(() => {});
    const ids = new Ulids();
    this.shared = new SharedText(this.link, ids, ADDRESS, "body", () => {});
    this.link.onAttach(() => this.shared.resume());
    this.binding = this.shared.bind();
    this.binding.onSplices((splices) => {
      for (const splice of splices) this.copy = apply(this.copy, ofSplice(splice))!;
    });
  }

  join(host: TestHost): void {
    this.up = [];
    this.down = [];
    this.#host = host;
    const port: ClientPort = { local: false, receive: (message) => void (this.#port === port && this.down.push(message)) };
    this.#port = port;
    this.link.detach();
    this.link.attach({ local: false, send: (message) => void this.up.push(message), read: () => undefined });
  }

  type(pick: Pick): void {
    const index = between(this.copy, pick(this.copy.length + 1));
    const deleted = between(this.copy, index + pick(Math.min(this.copy.length - index, 3) + 1)) - index;
    const inserted = randomText(pick, 3);
    this.copy = apply(this.copy, ofSplice({ index, deleted, inserted }))!;
    this.binding.splice(index, deleted, inserted);
    if (pick(2) === 0) this.shared.flush();
  }

  deliverUp(): boolean {
    const message = this.up.shift();
    if (message) this.#host!.say(this.#port!, message);
    return message !== undefined;
  }

  deliverDown(): boolean {
    const message = this.down.shift();
    if (message) this.link.receive(message);
    return message !== undefined;
  }
}

function settle(editors: Editor[], host: TestHost): void {
  for (let busy = true; busy;) {
    busy = false;
    for (const editor of editors) {
      editor.shared.flush();
      while (editor.deliverUp()) busy = editor.up.some(({ type }) => type === "edit") || busy;
      while (editor.deliverDown()) busy = true;
    }
    host.store();
    busy ||= editors.some(({ down }) => down.length > 0);
  }
}

function converged(editors: Editor[], host: TestHost): void {
  for (const editor of editors) {
    expect(editor.binding.text).toBe(host.text);
    expect(editor.copy).toBe(host.text);
  }
}

test("whatever is delivered when, all end with the same text", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const pick = random(seed);
    const host = new TestHost(new Disk());
    const editors = [new Editor(), new Editor()];
    for (const editor of editors) editor.join(host);
    for (let step = 0; step < 60; step++) {
      const editor = editors[pick(2)]!;
      switch (pick(6)) {
        case 0: case 1: editor.type(pick); break;
        case 2: editor.deliverUp(); break;
        case 3: editor.deliverDown(); break;
        case 4: host.store(); break;
        default: {
          const index = between(host.text, pick(host.text.length + 1));
          const end = between(host.text, index + pick(Math.min(2, host.text.length - index) + 1));
          host.foreign({ index, deleted: end - index, inserted: randomText(pick, 2) });
        }
      }
    }
    settle(editors, host);
    converged(editors, host);
  }
});

test("a host that dies with what it had not stored loses nothing that was typed, and the next has nothing twice", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const pick = random(seed);
    const disk = new Disk();
    let host = new TestHost(disk);
    const editors = [new Editor(), new Editor()];
    for (const editor of editors) editor.join(host);
    // Each character is typed once, and none is removed: what is there in the end is countable.
    const typed: string[] = [];
    const type = (editor: Editor) => {
      const mark = String.fromCodePoint(0x4e00 + typed.length);
      typed.push(mark);
      const index = pick(editor.copy.length + 1);
      editor.copy = apply(editor.copy, ofSplice({ index, deleted: 0, inserted: mark }))!;
      editor.binding.splice(index, 0, mark);
      if (pick(2) === 0) editor.shared.flush();
    };
    for (let step = 0; step < 60; step++) {
      const editor = editors[pick(2)]!;
      switch (pick(8)) {
        case 0: case 1: type(editor); break;
        case 2: case 3: editor.deliverUp(); break;
        case 4: case 5: editor.deliverDown(); break;
        case 6: host.store(); break;
        default:
          if (pick(4) === 0) {
            host = new TestHost(disk);
            for (const one of editors) one.join(host);
          }
      }
    }
    settle(editors, host);
    converged(editors, host);
    expect([...host.text].sort(), `seed ${seed}`).toEqual([...typed].sort());
  }
});

test("an edit that is refused is taken back, and what was typed on top of it stays", () => {
  const host = new TestHost(new Disk());
  const editor = new Editor();
  editor.join(host);
  settle([editor], host);
  const type = (index: number, text: string) => {
    editor.copy = apply(editor.copy, ofSplice({ index, deleted: 0, inserted: text }))!;
    editor.binding.splice(index, 0, text);
  };
  type(0, "one ");
  editor.shared.flush();
  host.refuse = true;
  while (editor.deliverUp());
  host.refuse = false;
  type(4, "two");
  while (editor.deliverDown());
  settle([editor], host);
  converged([editor], host);
  expect(host.text).toBe("two");
});

test("no character is torn apart, and what is none becomes the one that stands for it", () => {
  const host = new TestHost(new Disk());
  const [editor, other] = [new Editor(), new Editor()];
  for (const one of [editor, other]) one.join(host);
  settle([editor, other], host);
  editor.binding.splice(0, 0, "a😀b");
  for (const [index, deleted] of [[2, 0], [0, 2], [2, 2]] as const) {
    expect(() => editor.binding.splice(index, deleted, "x"), `${index}, ${deleted}`)
      .toThrowError(expect.objectContaining({ code: "bad_command" }));
  }
  editor.binding.splice(4, 0, "\ud83d");
  settle([editor, other], host);
  expect(host.text).toBe("a😀b\ufffd");
  expect([editor.binding.text, other.binding.text, other.copy]).toEqual([host.text, host.text, host.text]);
});
