// @vitest-environment jsdom
/** CodeMirror on a shared text: edits in both directions, others' carets, undo, marks. */

import { EditorState } from "@codemirror/state";
import { EditorView, runScopeHandlers } from "@codemirror/view";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { setLink, synclineMarks, synclineText, toggleBold } from "../../ts/codemirror/index.js";
import type { Post, TextBinding } from "../../ts/types.js";
import { client, eventually, until } from "../support/clients.js";
import { between, random, randomText } from "../support/random.js";
import { Server } from "../support/server.js";

let server: Server;
const views = new Set<EditorView>();
beforeAll(async () => { server = await Server.start(); });
afterEach(() => {
  for (const view of views) view.destroy();
  views.clear();
});
afterAll(() => server.stop());

async function twoAt(at: string, body: string) {
  const [ada, bob] = ["ada", "bob"].map((user) => client(server.url, user, { storage: "memory", shareTabs: false })) as [ReturnType<typeof client>, ReturnType<typeof client>];
  const [mine, theirs] = [ada.post(at), bob.post(at)];
  mine.subscribe(() => {});
  theirs.subscribe(() => {});
  await until(mine.status, ({ live }) => live);
  await mine.create({ title: "T", body });
  await mine.addEditor("bob");
  await until(theirs, ({ editors }) => editors.includes("bob"));
  return { ada, bob, mine, theirs };
}

function edit(post: Post, binding: TextBinding = post.text("body")) {
  const view = new EditorView({
    parent: document.body,
    state: EditorState.create({
      doc: binding.text,
      extensions: [
        synclineText(binding, { selections: post.selections("body"), select: (at) => post.select("body", at), history: post }),
        synclineMarks(post, { binding, askLink: () => "https://example.org" }),
      ],
    }),
  });
  views.add(view);
  return { view, binding };
}

test.each([1, 2, 3, 4])("two editors of one text end equal, whatever both write (seed %i), and let go of it when they end", async (seed) => {
  const { ada, bob, mine, theirs } = await twoAt(`town/random${seed}`, "one\r\ntwo");
  const [a, b] = [edit(mine), edit(theirs)];
  const pick = random(seed);
  for (let step = 0; step < 60; step += 1) {
    const { view } = pick(2) === 0 ? a : b;
    const text = view.state.sliceDoc();
    const from = between(text, pick(text.length + 1));
    const to = between(text, Math.min(text.length, from + pick(4)));
    view.dispatch({ changes: { from, to, insert: randomText(pick, 3) } });
    if (pick(4) === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  a.binding.flush();
  b.binding.flush();
  await eventually(() => {
    const texts = [a.view.state.sliceDoc(), b.view.state.sliceDoc(), mine.getSnapshot().body, theirs.getSnapshot().body];
    return ada.sync.getSnapshot().synced && bob.sync.getSnapshot().synced && texts.every((text) => text === texts[0]);
  }, "one text");
  a.view.destroy();
  a.binding.close();
  expect(ada.counts.texts).toBe(0);
});

test("others’ carets are drawn, and undo takes back only what is one’s own", async () => {
  const { ada, bob, mine, theirs } = await twoAt("town/carets", "hello");
  const { view } = edit(mine);
  await eventually(() => view.state.sliceDoc() === "hello", "the text");
  view.dispatch({ changes: { from: 5, insert: "!" } });
  await until(theirs, ({ body }) => body === "hello!");
  await theirs.splice("body", 0, 0, "> ");
  await eventually(() => view.state.sliceDoc() === "> hello!", "the other's edit");
  expect(runScopeHandlers(view, new KeyboardEvent("keydown", { key: "z", ctrlKey: true }), "editor")).toBe(true);
  await eventually(() => view.state.sliceDoc() === "> hello", "the undo");
  // Carets reach those who are in the space.
  for (const one of [ada, bob]) one.space("town").enter();
  for (const one of [ada, bob]) await until(one.space("town"), ({ members }) => members.length === 2);
  theirs.select("body", { anchor: 2, head: 7 });
  await eventually(() => view.dom.querySelector(".cm-syncline-flag")?.textContent === "bob", "the caret");
  expect(view.dom.querySelector(".cm-syncline-selection")?.textContent).toBe("hello");
});

test("marks are shown, and toggled on what is selected", async () => {
  const { mine, theirs } = await twoAt("town/marks", "hello world");
  const { view } = edit(mine);
  await eventually(() => view.state.sliceDoc() === "hello world", "the text");
  view.dispatch({ selection: { anchor: 0, head: 5 } });
  expect(toggleBold(view)).toBe(true);
  await eventually(() => view.dom.querySelector(".cm-syncline-bold")?.textContent === "hello", "the mark");
  await until(theirs, ({ spans }) => spans[0]?.marks.bold === true);
  expect(toggleBold(view)).toBe(true);
  await until(theirs, ({ spans }) => spans.length === 1 && !spans[0]?.marks.bold);
  view.dispatch({ selection: { anchor: 6, head: 11 } });
  expect(setLink()(view)).toBe(true);
  // While the user is asked the text moves.
  view.dispatch({ changes: { from: 0, insert: ">> " } });
  await until(theirs, ({ spans }) => spans.some(({ text, marks }) => text === "world" && marks.link === "https://example.org"));
  view.dispatch({ selection: { anchor: 0 } });
  expect(toggleBold(view), "nothing is selected").toBe(false);
});
