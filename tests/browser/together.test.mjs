// What several people and several tabs see of each other.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, Server, agree, browser, comment, comments, editor, postAt, shown, started, synced, until, write } from "./world.mjs";

let server, first, second;
before(async () => {
  [server, first, second] = await Promise.all([Server.start(), browser(), browser()]);
});
after(async () => {
  await Promise.all([first?.close(), second?.close()]);
  await server?.stop();
});

test("two browsers and three tabs converge, text, comments and likes", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const a1 = await ada.tab();
  const address = await write(a1, "Where shall we meet?", "At noon.");
  const [a2, b] = [await ada.tab(postAt(address)), await bob.tab(postAt(address))];
  // Two tabs of one browser share a connection, the other browser has its own.
  const leads = await Promise.all([a1, a2, b].map((page) => page.evaluate(() => globalThis.syncline.connection.getSnapshot().leads)));
  assert.deepEqual(leads, [true, false, true]);

  await a1.getByRole("button", { name: "let bob write" }).click();
  await editor(b).waitFor();
  // All three write at the same time, each in a place of its own.
  await Promise.all([[a1, "Home"], [a2, "End"], [b, "ArrowRight"]].map(async ([page, key]) => {
    await editor(page).click();
    await page.keyboard.press(key === "ArrowRight" ? "Control+Home" : `Control+${key}`);
    if (key === "ArrowRight") await page.keyboard.press(key);
    await page.keyboard.type({ Home: "[ada one]", End: "[ada two]", ArrowRight: "[bob]" }[key], { delay: 15 });
  }));
  await Promise.all([comment(a1, "From the first tab"), comment(a2, "From the second tab"), comment(b, "From afar")]);
  await Promise.all([a2, b].map((page) => page.getByRole("button", { name: /^Like/ }).first().click()));

  await Promise.all([a1, a2, b].map(synced));
  await agree(address, a1, a2, b);
  const text = await b.evaluate((address) => globalThis.syncline.post(address).getSnapshot().body, address);
  // Each one's letters are there once and in their order, whatever lies between them.
  for (const [letters, whole] of [[/[^\[]*\[ada two\]/, "[ada two]"], [/\[.*a.*d.*a.* .*o.*n.*e.*\]/, "[ada one]"], [/\[.*b.*o.*b.*\]/, "[bob]"]]) {
    assert.match(text, letters, `${whole} in ${text}`);
  }
  assert.equal(text.length, "At noon.[ada one][ada two][bob]".length);
  assert.deepEqual((await comments(a2, address)).toSorted(), ["From afar", "From the first tab", "From the second tab"]);
  for (const page of [a1, a2, b]) await page.getByRole("button", { name: "Like, 2 people" }).waitFor();
  // What the editors show is what the document holds.
  for (const page of [a1, a2, b]) assert.equal(await shown(page), text);
  await ada.leave();
  await bob.leave();
});

test("the feed counts live and opens no post", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const [reader, writer] = [await bob.tab(), await ada.tab()];
  await write(writer, "Counted while you look");
  const card = reader.locator("article", { hasText: "Counted while you look" });
  await card.getByLabel("0 comments").waitFor();
  await comment(writer, "one");
  await comment(writer, "two");
  await writer.getByRole("button", { name: /^Like/ }).first().click();
  await card.getByLabel("2 comments").waitFor();
  await card.getByLabel("1 likes").waitFor();
  assert.equal(await reader.evaluate(() => globalThis.syncline.sync.getSnapshot().openDocuments), 0);
  await ada.leave();
  await bob.leave();
});

test("typing and presence appear and expire", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "Who is there?");
  const people = a.getByRole("region", { name: "People here" });
  await people.getByText("1 person here").waitFor();
  const b = await bob.tab(postAt(address));
  await people.getByText("2 people here").waitFor();

  await b.getByRole("textbox", { name: "Write a comment" }).pressSequentially("I am");
  await a.getByText("bob is typing").first().waitFor();
  // Nothing is said any more: it lapses by itself.
  await a.getByText("bob is typing").first().waitFor({ state: "detached" });
  // Where his caret is, in the same text.
  await a.getByRole("button", { name: "let bob write" }).click();
  await editor(b).click();
  await b.keyboard.type("caret");
  await a.locator(".cm-syncline-caret").first().waitFor({ state: "attached" });

  await bob.leave();
  await people.getByText("1 person here").waitFor();
  await ada.leave();
});

test("two clients side by side in one page see each other", async () => {
  const ada = await Person.at(first, server, "ada");
  const page = await ada.tab("#/together");
  const left = page.frameLocator("iframe[title='Left: ada']");
  const right = page.frameLocator("iframe[title='Right: bob']");
  await left.getByRole("textbox", { name: "Title" }).fill("Seen from both sides");
  await left.getByRole("button", { name: "Post", exact: true }).click();
  await right.getByRole("link", { name: "Seen from both sides" }).click();
  await right.getByRole("textbox", { name: "Write a comment" }).fill("From the right");
  await right.getByRole("button", { name: "Comment", exact: true }).click();
  await left.getByText("From the right", { exact: true }).first().waitFor();
  await ada.leave();
});

test("a page without WebAssembly says so", async () => {
  const plain = await browser("--js-flags=--jitless");
  try {
    const page = await plain.newPage();
    await page.goto(`${server.url}/?user=ada`);
    await page.getByRole("heading", { name: "This browser runs no WebAssembly" }).waitFor();
    assert.match(await page.getByRole("alert").innerText(), /compiled to WebAssembly/);
    await page.getByText("no_webassembly").waitFor();
  } finally {
    await plain.close();
  }
});

test("who has no name is asked for one and can go on as somebody else", async () => {
  const context = await first.newContext();
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByRole("textbox", { name: "Your name" }).fill("Not A Name!");
  assert.equal(await page.getByRole("button", { name: "Enter" }).isDisabled(), true);
  await page.getByRole("textbox", { name: "Your name" }).fill("kim");
  await page.getByRole("button", { name: "Enter" }).click();
  await started(page);
  await until(page, () => globalThis.syncline.user === "kim");
  await page.getByRole("button", { name: /^kim ?: go on as somebody else/ }).click();
  await page.getByRole("button", { name: "eve" }).click();
  await until(page, () => globalThis.syncline?.user === "eve");
  await context.close();
});
