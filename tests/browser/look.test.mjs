// How the page looks and whether everybody can use it: axe on each page, light and dark, pictures for people to look
// at, and nothing left behind by pages that were left.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Person, Server, browser, comment, editor, eventually, findings, picture, postAt, synced, write } from "./world.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const DESKTOP = { viewport: { width: 1200, height: 860 } };
const MOUNTS = 200;

let server, chromium;
before(async () => {
  [server, chromium] = await Promise.all([Server.start(), browser()]);
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

/** A town with people in it and something going on. Answers the address of the post to look at. */
async function town() {
  const [ada, bob] = [await Person.at(chromium, server, "ada"), await Person.at(chromium, server, "bob")];
  const a = await ada.tab();
  await write(a, "Lost: one grey umbrella", "Left on the bench by the pond.");
  await comment(a, "Found it, thanks!");
  await a.getByRole("link", { name: "All posts" }).click();
  await write(a, "Which film on Friday?", "Two screens, one vote each.");
  await a.getByRole("button", { name: /^Like/ }).first().click();
  await a.getByRole("link", { name: "All posts" }).click();
  const address = await write(a, "A garden behind the library", "The council gives us the yard for one summer. Who has time on Saturdays, and who has a spade?");
  const b = await bob.tab(postAt(address));
  await a.getByRole("button", { name: "let bob write" }).click();
  await editor(b).click();
  await b.keyboard.press("Control+End");
  await b.keyboard.type(" I have two spades.");
  await comment(b, "Saturdays are fine. What about water?");
  await b.getByRole("button", { name: /^Like/ }).first().click();
  await a.getByText("What about water?").first().waitFor();
  const question = a.getByRole("article", { name: /Comment by bob/ }).or(a.locator("li", { hasText: "What about water?" })).first();
  await question.getByRole("button", { name: "Reply" }).click();
  await a.getByRole("textbox", { name: "Reply to bob" }).fill("The library lets us use theirs.");
  await a.getByRole("textbox", { name: "Reply to bob" }).press("Control+Enter");
  await b.getByText("The library lets us use theirs.").first().waitFor();
  await Promise.all([a, b].map(synced));
  return { address, ada, bob, a, b };
}

test("the pages have no serious finding of axe, on a phone and a desktop, light and dark", async () => {
  const { address, ada, bob } = await town();
  const found = [];
  for (const [device, options] of [["desktop", DESKTOP], ["phone", PHONE]]) {
    for (const colorScheme of ["light", "dark"]) {
      const eve = await Person.at(chromium, server, "eve", { ...options, colorScheme });
      const page = await eve.tab();
      const look = async (name) => {
        await picture(page, `${name}-${device}-${colorScheme}`);
        for (const finding of await findings(page)) found.push(`${name}, ${device}, ${colorScheme}: ${finding}`);
      };
      await page.getByRole("link", { name: "A garden behind the library" }).waitFor();
      await look("feed");
      await page.goto(`${server.url}/?user=eve&space=town${postAt(address)}`);
      await page.getByText("The library lets us use theirs.").first().waitFor();
      await look("post");
      await page.getByRole("button", { name: "Inspector" }).click();
      await page.getByRole("img", { name: /changes by/ }).waitFor();
      await page.getByRole("region", { name: "Inspector" }).scrollIntoViewIfNeeded();
      await look("inspector");
      if (device === "phone") {
        await page.getByRole("button", { name: "People, network" }).click();
        await look("side");
      } else {
        await page.goto(`${server.url}/?user=eve&space=town#/together`);
        for (const side of [0, 1]) await page.frameLocator("iframe").nth(side).getByRole("link", { name: "A garden behind the library" }).waitFor();
        await look("together");
      }
      await eve.leave();
      const stranger = await chromium.newContext({ ...options, colorScheme });
      const entrance = await stranger.newPage();
      await entrance.goto(server.url);
      await entrance.getByRole("heading", { name: "Who are you?" }).waitFor();
      await picture(entrance, `entrance-${device}-${colorScheme}`);
      for (const finding of await findings(entrance)) found.push(`entrance, ${device}, ${colorScheme}: ${finding}`);
      await stranger.close();
    }
  }
  assert.deepEqual(found, []);
  await ada.leave();
  await bob.leave();
});

test(`nothing is left behind by ${MOUNTS} pages that were left`, async () => {
  const kim = await Person.at(chromium, server, "kim");
  const page = await kim.tab();
  const address = await write(page, "Mounted and unmounted", "Again and again.");
  await comment(page, "a comment");
  await synced(page);
  const tools = await kim.context.newCDPSession(page);
  await tools.send("Performance.enable");
  const visit = async (times) => {
    for (let i = 0; i < times; i++) {
      await page.evaluate(() => { location.hash = "#/"; });
      await page.getByRole("textbox", { name: "Title" }).waitFor();
      await page.evaluate((hash) => { location.hash = hash; }, postAt(address));
      await editor(page).waitFor();
      await page.getByText("a comment", { exact: true }).first().waitFor();
    }
    await page.evaluate(() => { location.hash = "#/"; });
    await page.getByRole("textbox", { name: "Title" }).waitFor();
    await eventually("the documents' end", async () => (await page.evaluate(() => globalThis.syncline.counts.documents)) === 0);
  };
  const measured = async () => {
    await tools.send("HeapProfiler.collectGarbage");
    const { metrics } = await tools.send("Performance.getMetrics");
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return { heap: of("JSHeapUsedSize"), listeners: of("JSEventListeners"), nodes: of("Nodes") };
  };
  // What is loaded once, cached and compiled is no leak.
  await visit(20);
  const begin = await measured();
  await visit(MOUNTS);
  const end = await measured();
  console.log(`after 20: ${JSON.stringify(begin)}; after ${20 + MOUNTS}: ${JSON.stringify(end)}`);
  // A leak of one listener or node for each visit would be 200 of them. The heap grows a little and ever less, by what the
  // engine of JavaScript learns and compiles; an editor or a tree of components that stays takes far more each.
  assert.ok(end.listeners - begin.listeners < MOUNTS / 2, `listeners: ${begin.listeners} to ${end.listeners}`);
  assert.ok(end.nodes - begin.nodes < MOUNTS / 2, `nodes: ${begin.nodes} to ${end.nodes}`);
  assert.ok(end.heap - begin.heap < MOUNTS * 16_384, `heap: ${begin.heap} to ${end.heap}`);
  await kim.leave();
});
