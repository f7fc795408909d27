// The demo agent: an answer that others read along, that can be stopped, and that goes on after its page was closed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, Server, browser, comments, eventually, postAt, started, write } from "./world.mjs";

let server, chromium;
before(async () => {
  [server, chromium] = await Promise.all([Server.start(), browser()]);
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

async function ask(page, question) {
  await page.getByRole("textbox", { name: "Question to the demo agent" }).fill(question);
  await page.getByRole("button", { name: "Ask", exact: true }).click();
}

/** Waits until an answer that is being said has so many letters. */
async function heard(page, letters) {
  const answer = page.locator(".answer");
  await answer.waitFor();
  await eventually("more of the answer", async () => (await answer.innerText()).length > letters);
  return answer;
}

/** What the agent has committed as comments, by author. */
async function answers(page, address) {
  return await page.evaluate((address) => globalThis.syncline.comments(address).getSnapshot().thread
    .filter(({ author }) => author === "demo-agent").map(({ body }) => body), address);
}

test("an answer is read along, interrupted, and gone on with", async () => {
  const [ada, bob] = [await Person.at(chromium, server, "ada"), await Person.at(chromium, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "A question");
  const b = await bob.tab(postAt(address));
  await ask(a, "How does merging work?");
  await Promise.all([heard(a, 120), heard(b, 120)]);
  await a.getByRole("button", { name: "Stop" }).click();
  await eventually("the part of the answer", async () => (await answers(b, address)).length === 1);
  const [part] = await answers(b, address);
  assert.ok(part.endsWith(" …"), part);

  await a.getByRole("button", { name: "Let the agent go on" }).click();
  await eventually("the rest of the answer", async () => (await answers(b, address)).length === 2);
  const rest = (await answers(b, address))[1];
  const whole = part.slice(0, -2) + rest;
  assert.ok(!rest.endsWith(" …") && rest.endsWith("."), rest);
  assert.ok(whole.length > 300 && !whole.includes("…"), whole);
  assert.equal((await comments(b, address))[0], "How does merging work?");
  await ada.leave();
  await bob.leave();
});

test("an answer whose page is reloaded goes on where it was, and a reader whose line is cut hears all of it", async () => {
  const [ada, bob] = [await Person.at(chromium, server, "ada"), await Person.at(chromium, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "Another question");
  const b = await bob.tab(postAt(address));
  await ask(a, "And when a page is closed?");
  await heard(b, 100);
  await b.getByRole("button", { name: "Drop the connection" }).click();
  await heard(b, 160);
  await a.reload();
  await started(a);
  await eventually("the answer", async () => (await answers(b, address)).length === 1);
  const [said] = await answers(b, address);
  assert.ok(said.length > 300 && said.endsWith("."), said);
  // No word was lost or said twice where it was taken up again: another page would have said the same.
  await a.goto(`${server.url}/?user=ada&space=town#/`);
  const other = await write(a, "The same question");
  await ask(a, "And when a page is closed?");
  await eventually("the same answer", async () => (await answers(a, other)).length === 1);
  assert.deepEqual(await answers(a, other), [said]);
  await ada.leave();
  await bob.leave();
});
