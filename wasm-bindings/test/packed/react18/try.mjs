// The packed package under the oldest React that it says it runs with: rendered on a server, taken over in a page, in
// use, and gone without a trace. Whatever React complains about is a failure.

import assert from "node:assert/strict";

import { JSDOM } from "jsdom";
import { StrictMode, Suspense, createElement as h, version } from "react";
import { renderToString } from "react-dom/server";
import { createClient } from "syncline";
import * as parts from "syncline/react";

assert.match(version, /^18\./);
const complaints = [];
console.error = (...what) => complaints.push(what.join(" "));

const client = createClient({ url: "ws://127.0.0.1:9", user: "ada", online: false, storage: "memory" });
const at = { address: "town/square" };
const seen = { phases: [], updates: [] };

/** Something of each kind of hook. */
function Hooks() {
  const { view, handle } = parts.usePost(at.address);
  const { refused } = parts.useRefused();
  const title = parts.useSelected(handle, (post) => post.title);
  const { pending } = parts.useSyncStatus();
  const { undoable } = parts.useUndo(handle);
  const tag = parts.useOptimisticUpdate((name) => handle.addTag(name));
  const { participants } = parts.useSessionParticipants("town");
  parts.useRealtimeUpdates(`${at.address}/post`, (update) => seen.updates.push(update.change.type));
  parts.useBackgroundSync([`${at.address}/json`]);
  parts.useCursors({ ...at, field: "title" });
  parts.useTypingIndicators(`${at.address}/post`);
  parts.useWebSocket("town");
  parts.useFeed("town");
  seen.phases.push(tag.phase);
  const says = `${view.title}|${title}|${pending}|${undoable}|${view.tags.join()}|${refused.length}|${participants.length}`;
  return h("button", { id: "hooks", onClick: () => tag.run("green") }, says);
}
const Waits = () => h("p", { id: "waits" }, parts.usePost("town/other", { suspense: true }).view.title || "untitled");
const page = h(StrictMode, null, h(parts.SynclineProvider, { client },
  h(Hooks), h(Suspense, { fallback: "waiting" }, h(Waits)),
  h(parts.ConnectionStatus), h(parts.ConnectionStatus, { variant: "detailed" }), h(parts.RealTimeComments, at), h(parts.LikeButton, at),
  h(parts.CollaborativeText, { ...at, field: "body", label: "Body" }), h(parts.TypingIndicators, { address: `${at.address}/post` }),
  h(parts.ParticipantsList, { space: "town" }), h(parts.StreamingResponse, { address: "town/answer" }), h(parts.RefusalToasts),
));
const html = renderToString(page);
assert.ok(html.includes("Loading comments"), html);

const { window } = new JSDOM(`<main>${html}</main>`, { url: "http://localhost" });
for (const [name, value] of Object.entries({ window, document: window.document, navigator: window.navigator, Node: window.Node, AbortController: window.AbortController })) {
  // Newer Nodes have a navigator of their own, which is not to be assigned to.
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
// Looked for by React when it is loaded.
const { hydrateRoot } = await import("react-dom/client");

async function until(what, holds) {
  for (const end = Date.now() + 30_000; !holds(); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() > end) throw new Error(`${what} did not come: ${document.body.innerHTML}; ${complaints}`);
  }
}
const root = hydrateRoot(document.querySelector("main"), page);
const before = document.querySelector("#hooks");
await until("the page", () => document.body.textContent.includes("0 comments"));
client.post(at.address).create({ title: "Old", body: "and sound" });
await until("the title", () => before.textContent.startsWith("Old|Old|"));
const field = document.querySelector(".syncline-text textarea");
await until("the text", () => field.value === "and sound" && !field.readOnly);
before.click();
await until("the tag", () => before.textContent.includes("|green|"));
assert.ok(seen.phases.includes("pending"));
field.focus();
field.value = "safe and sound";
field.dispatchEvent(new window.InputEvent("input", { bubbles: true }));
await until("the edit", () => client.post(at.address).getSnapshot().body === "safe and sound");
const like = document.querySelector(".syncline-like");
like.click();
await until("the like", () => like.getAttribute("aria-pressed") === "true");
await until("what was waited for", () => document.querySelector("#waits")?.textContent === "untitled");
client.comments(at.address).add("From 1.8 to 18");
await until("the comment", () => document.querySelector("article")?.textContent.includes("From 1.8 to 18"));
assert.ok(before.isConnected, "React began anew instead of taking over");

root.unmount();
await until("the documents' end", () => client.counts.documents === 0);
await client.close();
assert.deepEqual(complaints, []);
console.log("React 18: ok");
process.exit(0);
