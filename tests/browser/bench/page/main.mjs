// One page, of which only "system" differs. The runner calls what it leaves in `globalThis.bench`.
//
// A system has `create` (makes the post; answers its address and how to leave) and `open`. `open` resolves with the
// post once it has the content, from the device if that holds it; it tells the view what others change.
import { memory } from "./memory.mjs";
import * as system from "system";

import { TITLE, body, comment } from "./content.mjs";
import { View } from "./view.mjs";

const LIMIT_MS = 60_000;

let longest = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
}).observe({ type: "longtask", buffered: true });

const view = new View(document.querySelector("main"));
let post;
/** What was typed here, as the view had it before. */
let before = "";
const keys = [];
let key;
/** How many characters were first shown when, while somebody else types. */
let lengths = [];
let onComments = () => {};

/** The time that pages of one machine share. */
const shared = () => performance.timeOrigin + performance.now();

/** Resolves after the frame that shows what is in the DOM: a task of its own runs once that is painted. */
function painted() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(null);
    });
  });
}

async function until(what, condition) {
  const end = performance.now() + LIMIT_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The one stretch in which two texts differ; what was typed lies before the caret. */
function typed(old, now, caret) {
  let tail = 0;
  while (tail < now.length - caret && tail < old.length && old.at(-1 - tail) === now.at(-1 - tail)) tail++;
  let head = 0;
  while (head < Math.min(old.length, now.length) - tail && old[head] === now[head]) head++;
  return { index: head, deleted: old.length - tail - head, inserted: now.slice(head, now.length - tail) };
}

/** What somebody else changed is in the DOM. */
const changed = {
  text() {
    before = view.text.value;
    view.count(post.length());
    const { length } = before;
    void painted().then(() => lengths.push([length, shared()]));
  },
  comments() {
    view.count(post.length());
    onComments();
  },
};

/** Takes what is in the text over into the document. */
function take() {
  const { index, deleted, inserted } = typed(before, view.text.value, view.text.selectionStart);
  post.edit(index, deleted, inserted);
  before = view.text.value;
  view.count(post.length());
}

view.text.addEventListener("keydown", (event) => { key = event.timeStamp; });
view.text.addEventListener("input", (event) => {
  if (!event.isTrusted) return take();
  const pressed = key;
  const begin = performance.now();
  take();
  const work = performance.now() - begin;
  void painted().then(() => keys.push({ paint: performance.now() - pressed, work }));
});

async function open(options) {
  post = await system.open(options, view, changed);
  view.title(post.title());
  view.show(post.body(), post.comments());
  before = view.text.value;
  view.count(post.length());
}

globalThis.bench = {
  memory,

  /** Makes the post, and writes its comments: each author in a session of their own, one after the other. */
  async seed(server, authors, count) {
    const quiet = { title() {}, insert() {}, replace() {}, remove() {}, splice() {} };
    let last = await system.create({ server, user: "author0", title: TITLE, body: body(), editors: ["reader", "writer"] });
    const { address } = last;
    for (let author = 0, written = 0; author < authors; author++) {
      const next = await system.open({ server, user: `author${author}`, address, disk: false, connected: true }, quiet, {
        text() {}, comments() {},
      });
      await until("what others wrote", () => next.body().length > 0 && next.comments().length === written);
      // What the next one has seen, the server has.
      await last.leave();
      for (const end = Math.round(((author + 1) / authors) * count); written < end; written++) next.add(comment(written));
      last = next;
    }
    await until("the last of the seed", () => last.isSettled());
    return address;
  },

  /** The first visit, which leaves the post on the device. */
  async visit(options, authors, count) {
    await open({ ...options, connected: true });
    if (post.fill) {
      post.fill(count, authors);
      view.show(post.body(), post.comments());
    }
    await until("all comments", () => view.comments === count && before.length > 0);
    await globalThis.bench.leave();
  },

  /** Set where the page was opened to be measured. */
  opened: undefined,

  async connect() {
    post.connect();
    await until("a settled document", () => post.isSettled());
  },

  async join(options, count) {
    await open({ ...options, disk: false, connected: true });
    await until("all comments", () => view.comments >= count);
  },

  /** Puts the caret in the midst of the text, for keys that the runner presses. */
  caret() {
    keys.length = 0;
    view.text.focus();
    view.text.setSelectionRange(1_000, 1_000);
  },

  async pressed(count) {
    await until("the paint of a key", () => keys.length >= count);
    return keys;
  },

  /** Types as a person does, after a pause; answers when each key was handed over. */
  async type(text, paceMs, pauseMs) {
    const at = [];
    for (const character of text) {
      await new Promise((resolve) => setTimeout(resolve, at.length > 0 ? paceMs : pauseMs));
      at.push(shared());
      view.text.setRangeText(character, 1_000, 1_000, "end");
      view.text.dispatchEvent(new Event("input"));
    }
    return at;
  },

  length: () => post.length(),

  /** When so many characters and more were shown, each. */
  async watchText(from, to) {
    await until("what somebody else types", () => lengths.some(([length]) => length >= to));
    const seen = lengths;
    lengths = [];
    return Array.from({ length: to - from }, (_, at) => seen.find(([length]) => length > from + at)[1]);
  },

  comments: () => view.comments,

  say(text) {
    const at = shared();
    post.add(text);
    return at;
  },

  watchComments(count) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("no comment came")), LIMIT_MS);
      const look = () => {
        if (view.comments < count) return;
        onComments = () => {};
        clearTimeout(late);
        void painted().then(() => resolve(shared()));
      };
      onComments = look;
      look();
    });
  },

  /** Everything that was done here is stored, and with the server. */
  async settle() {
    await until("a settled document", () => post.isSettled());
    await post.stored();
  },

  /** The same, and the page can go. */
  async leave() {
    await globalThis.bench.settle();
    await post.leave();
  },
};

/** From the beginning of the navigation until all is shown and an edit is taken; from what the device holds. */
async function interactive(options, count) {
  await open({ ...options, connected: false });
  if (view.comments < count || before.length < 2_000) throw new Error(`shown are ${view.comments} comments and ${before.length} characters`);
  const length = post.length();
  view.text.setRangeText("x", before.length, before.length, "end");
  view.text.dispatchEvent(new Event("input"));
  if (post.length() !== length + 1) throw new Error("the edit was not taken");
  await painted();
  const at = performance.now();
  // Long tasks are told in a later task.
  await new Promise((resolve) => setTimeout(resolve));
  return { at, longest };
}

// What is measured begins by itself, as an app's page does, and is not kept waiting for the runner.
if (location.hash !== "") {
  const { options, count } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  globalThis.bench.opened = interactive(options, count);
  // Whoever waits for it is told.
  globalThis.bench.opened.catch(() => {});
}
