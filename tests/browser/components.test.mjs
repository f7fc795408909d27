// The components by themselves, in a page of nothing else: all of their states to axe's eyes and to people's, and what
// takes a real layout, a real keyboard or a real input method.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { serve } from "./gallery/serve.mjs";
import { PATIENCE, Server, browser, eventually, findings, listen, picture } from "./world.mjs";

let gallery, chromium;
before(async () => {
  [gallery, chromium] = await Promise.all([serve(), browser()]);
});
after(async () => {
  await chromium?.close();
  gallery?.close();
});

/** The gallery, or one view of it, with a server of its own; handed to `use`, and closed afterwards. */
async function visit(view, { place = "/", ...options }, use) {
  const server = await Server.start("--owners", "owner", "--cors-origins", gallery.url);
  const context = await chromium.newContext({ viewport: { width: 1200, height: 900 }, reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(PATIENCE);
  const complaints = [];
  try {
    const page = await context.newPage();
    listen(page, complaints);
    await page.goto(`${gallery.url}${place}?${new URLSearchParams({ server: server.url, ...(view === null ? {} : { view }) })}`);
    await page.waitForFunction(() => document.documentElement.dataset.settled !== undefined);
    await use(page, server);
  } catch (error) {
    if (complaints.length > 0) error.message += `\nthe page complained:\n${complaints.join("\n")}`;
    throw error;
  } finally {
    await context.close();
    await server.stop();
  }
  assert.deepEqual(complaints, []);
}

/** A section of the gallery. */
function section(page, name) {
  return page.getByRole("region", { name, exact: true }).first();
}

/** Waits until all that the gallery shows is there. */
async function complete(page) {
  await section(page, "Comments").getByText("No harm done.").waitFor();
  await section(page, "Comments").getByText("bob is typing").waitFor();
  await section(page, "Comments, offline").getByText("And another one.").waitFor();
  await section(page, "Comments, refused").getByText("And who waters them in August?").waitFor();
  await section(page, "Typing").getByText("eve and gil are typing").waitFor();
  await section(page, "People").getByText("5 people here").first().waitFor();
  await section(page, "Answer stopped").getByText("Stopped by ada").first().waitFor();
  await section(page, "Answer failed").getByText("It failed: the model is out of breath").first().waitFor();
  await section(page, "Answer unreadable").getByRole("button", { name: "Read on" }).waitFor();
  await section(page, "Text").locator(".syncline-mirror mark").first().waitFor();
  await section(page, "Text that is nowhere").getByRole("alert").waitFor();
  assert.equal(await section(page, "Text that is nowhere").getByRole("textbox").getAttribute("placeholder"), null, "it is not loading");
  await section(page, "Refusals").getByRole("group", { name: "Your comment was not posted" }).waitFor();
}

for (const [name, options] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["forced", { colorScheme: "dark", forcedColors: "active" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
]) {
  test(`all components in all of their states have no serious finding of axe: ${name}`, async () => {
    await visit(null, options, async (page) => {
      await complete(page);
      const found = [];
      // With forced colors the contrast is the user's own, and axe reads colors that are not shown.
      const rules = options.forcedColors === undefined ? {} : { "color-contrast": { enabled: false } };
      const look = async (what) => {
        await picture(page, `components-${what}-${name}`, { fullPage: true });
        for (const finding of await findings(page, rules)) found.push(`${what}: ${finding}`);
      };
      const comments = section(page, "Comments");
      const own = comments.getByRole("article", { name: /by ada/ }).first();
      await comments.getByRole("article", { name: /by bob/ }).first().getByRole("button", { name: "Reply" }).click();
      await comments.getByRole("textbox", { name: "Reply to bob" }).fill("I ask them.");
      await section(page, "Likes").getByRole("button", { name: "Add a reaction" }).click();
      await section(page, "Likes").getByRole("toolbar", { name: "Choose a reaction" }).waitFor();
      await look("all");
      await own.getByRole("button", { name: "Edit" }).click();
      await comments.getByRole("textbox", { name: "Edit your comment" }).waitFor();
      await look("edit");
      await comments.getByRole("button", { name: "Cancel" }).click();
      await own.getByRole("button", { name: "Delete" }).click();
      await own.getByRole("group", { name: "Delete this comment?" }).waitFor();
      await look("delete");
      assert.deepEqual(found, []);
    });
  });
}

test("the name at a caret stays within the field, also at the end of a full line", async () => {
  await visit("texts", {}, async (page) => {
    const field = section(page, "Text to the edge");
    await field.getByText(/sun from nine/).first().waitFor({ state: "attached" });
    // The place that is furthest to the right.
    const at = await field.locator(".syncline-mirror").evaluate((mirror) => {
      const [text] = [...mirror.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.length > 1);
      const range = document.createRange();
      const right = (index) => {
        range.setStart(text, index);
        range.collapse(true);
        return range.getBoundingClientRect().right;
      };
      return [...text.data].map((_, index) => index).reduce((best, index) => (right(index) > right(best) ? index : best), 0);
    });
    const inside = async () => {
      const flag = field.locator(".syncline-flag");
      await flag.waitFor();
      return await flag.evaluate((flag) => {
        const [own, frame] = [flag, flag.closest(".syncline-text-frame")].map((one) => one.getBoundingClientRect());
        return own.left >= frame.left && own.right <= frame.right;
      });
    };
    await page.evaluate(async (at) => {
      const post = globalThis.person("bob").post("town/edge");
      await globalThis.until(post, ({ body }) => body.length > at);
      post.select("body", { anchor: at, head: at });
    }, at);
    await eventually("a name within the field", inside);
    // The lines break elsewhere when it gets narrower.
    for (const width of [1100, 700, 500]) {
      await page.setViewportSize({ width, height: 900 });
      await eventually(`a name within the field at ${width}`, inside);
    }
  });
});

test("what was refused is marked with its reason where it was written, and can be copied, tried again and dismissed", async () => {
  await visit("comments", { permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
    const comments = section(page, "Comments, refused");
    const added = comments.getByRole("list", { name: "Not posted" }).getByRole("listitem");
    await added.getByText("You are not allowed to do this here.").waitFor();
    await added.getByText("And who waters them in August?").waitFor();
    const edited = comments.getByRole("article", { name: "Comment by kim" }).filter({ hasText: "I can bring tomatoes." });
    await edited.getByText("Your edit was not taken: You are not allowed to do this here.").waitFor();
    await edited.getByText("I can bring tomatoes and beans.").waitFor();
    await edited.getByText("I can bring tomatoes.", { exact: true }).waitFor();

    await edited.getByRole("button", { name: "Copy" }).click();
    await edited.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "I can bring tomatoes and beans.");
    await added.getByRole("button", { name: "Copy" }).click();
    await added.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "And who waters them in August?");

    // Her device knows by now that she may not: what is tried again in vain stays, and new words are kept as well.
    await added.getByRole("button", { name: "Try again" }).click();
    await comments.getByRole("textbox", { name: "Write a comment" }).fill("May I?");
    await comments.getByRole("button", { name: "Comment", exact: true }).click();
    const mayI = added.filter({ hasText: "May I?" });
    await mayI.getByText("You are not allowed to do this here.").waitFor();
    await added.filter({ hasText: "And who waters them in August?" }).waitFor();
    await mayI.getByRole("button", { name: "Dismiss" }).click();
    await mayI.waitFor({ state: "detached" });

    await page.evaluate(async () => {
      await globalThis.person("owner").document("town/rules").put(["members", "kim"], "member");
    });
    // Her client hears of it before her words arrive, or they are refused once more.
    await eventually("the edit", async () => {
      const again = edited.getByRole("button", { name: "Try again" });
      if (await again.count() > 0) await again.click({ timeout: 1_000 }).catch(() => {});
      return await section(page, "Comments").getByText("I can bring tomatoes and beans.").count() > 0;
    });
    await added.getByRole("button", { name: "Dismiss" }).click();
    await added.waitFor({ state: "detached" });
    await page.waitForFunction(() => globalThis.person("kim").refused.getSnapshot().length === 0);
  });
});

/** An answer that grows line by line, and its reader. */
async function growing(page) {
  const answer = section(page, "Answer to scroll");
  const scroller = answer.getByRole("group", { name: "Answer" });
  await scroller.waitFor();
  const say = async (from, to) => {
    await page.evaluate(async ([from, to]) => {
      for (let line = from; line <= to; line += 1) await globalThis.writer.append(`Line ${line}\n`);
    }, [from, to]);
    await answer.getByText(`Line ${to}`).waitFor();
  };
  const fromEnd = () => scroller.evaluate(({ scrollHeight, clientHeight, scrollTop }) => scrollHeight - clientHeight - scrollTop);
  const top = () => scroller.evaluate(({ scrollTop }) => scrollTop);
  return { answer, scroller, say, fromEnd, top };
}

test("an answer is followed at its end, and left where it is read", async () => {
  await visit("streams", {}, async (page) => {
    const { answer, scroller, say, fromEnd, top } = await growing(page);
    await say(1, 40);
    await eventually("its end", async () => (await top()) > 0 && (await fromEnd()) <= 1);
    await say(41, 60);
    await eventually("its end again", async () => (await fromEnd()) <= 1);

    await scroller.hover();
    await page.mouse.wheel(0, -200);
    const newest = answer.getByRole("button", { name: "Jump to the newest" });
    await newest.waitFor();
    const read = await top();
    await say(61, 80);
    assert.equal(await top(), read, "what is read stays where it is");

    await newest.click();
    await eventually("its end by the button", async () => (await fromEnd()) <= 1);
    await newest.waitFor({ state: "detached" });
    await say(81, 90);
    await eventually("its end from then on", async () => (await fromEnd()) <= 1);

    // Scrolled up and back to the end by hand it is followed as well.
    await scroller.hover();
    await page.mouse.wheel(0, -200);
    await newest.waitFor();
    await page.mouse.wheel(0, 10_000);
    await newest.waitFor({ state: "detached" });
    await say(91, 100);
    await eventually("its end by hand", async () => (await fromEnd()) <= 1);
  });
});

test("an answer that could not be read is read on once it may be", async () => {
  await visit("streams", {}, async (page) => {
    const answer = section(page, "Answer unreadable");
    await answer.getByRole("alert").getByText("You are not allowed to do this here.").waitFor();
    await page.evaluate(async () => {
      await globalThis.person("owner").document("locked/rules").put(["private"], false);
    });
    await eventually("the answer", async () => {
      const on = answer.getByRole("button", { name: "Read on" });
      if (await on.count() > 0) await on.click({ timeout: 1_000 }).catch(() => {});
      return await answer.getByText("For my eyes only.").count() > 0;
    });
    await answer.getByRole("alert").waitFor({ state: "detached" });
  });
});

test("what a server rendered is taken over without a complaint, and goes live", async () => {
  await visit(null, { place: "/rendered" }, async (page) => {
    const served = await (await fetch(`${gallery.url}/rendered`)).text();
    for (const words of ["Untitled", "Not connected", "Loading comments", "Write a comment", "People here"]) assert.ok(served.includes(words), words);
    await page.getByRole("region", { name: "Details" }).getByText("Connected", { exact: true }).first().waitFor();
    await page.evaluate(async () => {
      const bob = globalThis.person("bob");
      await bob.post("town/hydrated").create({ title: "Taken over", body: "Alive." });
      await bob.comments("town/hydrated").add("From afar");
    });
    await page.getByRole("heading", { name: "Taken over" }).waitFor();
    await page.getByText("From afar", { exact: true }).waitFor();
    await page.getByRole("textbox", { name: "Write a comment" }).fill("From here");
    await page.getByRole("button", { name: "Comment", exact: true }).click();
    await page.evaluate(async () => {
      await globalThis.until(globalThis.person("bob").comments("town/hydrated"), ({ count }) => count === 2);
    });
    // React threw nothing of it away to begin anew.
    assert.ok(await page.evaluate(() => globalThis.rendered.length > 20 && ["section", "h1", "textarea"].every((name) => globalThis.rendered.some((one) => one.localName === name && one.isConnected))));
  });
});

test("undo and redo put the caret where the edit was, whichever tab leads", async () => {
  await visit("tab", {}, async (leader) => {
    await leader.evaluate(async () => {
      await globalThis.person("ada").post("town/tab").create({ title: "Tabs", body: "one two three" });
    });
    const follower = await leader.context().newPage();
    await follower.goto(leader.url());
    for (const [page, leads] of [[follower, false], [leader, true]]) {
      await page.waitForFunction((leads) => globalThis.person?.("ada").connection.getSnapshot().leads === leads, leads);
      await page.bringToFront();
      const field = page.getByRole("textbox", { name: "Shared" });
      const shows = (value) => eventually(value, async () => (await field.inputValue()) === value && !(await field.getAttribute("readonly")));
      const caret = () => field.evaluate(({ selectionStart, selectionEnd }) => [selectionStart, selectionEnd]);
      await shows("one two three");
      await field.focus();
      await field.evaluate((field) => field.setSelectionRange(3, 3));
      await page.keyboard.insertText(" and a half");
      await shows("one and a half two three");
      await page.waitForFunction(() => globalThis.person("ada").post("town/tab").getSnapshot().body.includes("half"));
      await page.keyboard.press("Control+End");
      await page.keyboard.press("Control+z");
      await shows("one two three");
      assert.deepEqual(await caret(), [3, 3], `after undo, leading: ${leads}`);
      await page.keyboard.press("Control+End");
      await page.keyboard.press("Control+y");
      await shows("one and a half two three");
      assert.deepEqual(await caret(), [14, 14], `after redo, leading: ${leads}`);
      await page.keyboard.press("Control+z");
      await shows("one two three");
    }
  });
});

for (const [name, read] of [["Shared", (field) => field.inputValue()], ["Editor", (field) => field.innerText()]]) {
  test(`what is composed and what others write meanwhile are both there, in order: ${name}`, async () => {
    await visit("tab", {}, async (page) => {
      await page.evaluate(async () => {
        const [ada, bob] = ["ada", "bob"].map(globalThis.person);
        await ada.post("town/tab").create({ title: "Tabs", body: "one two" });
        await ada.post("town/tab").addEditor("bob");
        globalThis.bob = bob.post("town/tab");
        globalThis.stop = globalThis.bob.subscribe(() => {});
        await globalThis.until(globalThis.bob, ({ editors }) => editors.includes("bob"));
      });
      /** Bob writes something at the beginning; answers once ada's device has it. */
      const meanwhile = (words) => page.evaluate(async (words) => {
        await globalThis.bob.splice("body", 0, 0, words);
        await globalThis.until(globalThis.person("ada").post("town/tab"), ({ body }) => body.startsWith(words));
      }, words);
      const field = page.getByRole("textbox", { name, exact: true });
      await eventually("the text", async () => (await read(field)) === "one two");
      await field.click();
      await page.keyboard.press("Control+End");
      const tools = await page.context().newCDPSession(page);
      const compose = (text) => tools.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
      await compose("か");
      await eventually("what is composed", async () => (await read(field)).endsWith("か"));
      await meanwhile("1 ");
      await compose("かん");
      await eventually("what is composed next", async () => (await read(field)).endsWith("かん"));
      await meanwhile("2 ");
      await tools.send("Input.insertText", { text: "漢" });
      const whole = "2 1 one two漢";
      await eventually(whole, async () => (await read(field)) === whole);
      await page.evaluate(async (whole) => { await globalThis.until(globalThis.bob, ({ body }) => body === whole); }, whole);
      // The caret is where it was in the text.
      await page.keyboard.type("!");
      await eventually("what is typed next", async () => (await read(field)) === `${whole}!`);
    });
  });
}
