// A native client, a browser and a client by server-sent events in one conversation: the same documents in the end, byte for
// byte, whoever reads them by whatever way.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "../../wasm-bindings/dist/index.js";
import { Native, Person, Server, browser, comment, editor, eventually, postAt, synced, write } from "./world.mjs";

const FACETS = ["post", "likes", "comments"];

let server, chromium;
before(async () => {
  [server, chromium] = await Promise.all([Server.start(), browser()]);
});
after(async () => {
  await chromium?.close();
  await server?.stop();
});

/** The heads of a post's documents as a client of the package has them, with nothing on its way. */
async function heads(client, address) {
  return await Promise.all(FACETS.map(async (facet) => {
    const { live, pending } = client[facet](address).status.getSnapshot();
    return live && pending === 0 ? await client.heads(`${address}/${facet}`) : undefined;
  }));
}

test("a native client, a browser and one by server-sent events have the same heads", async () => {
  const ada = await Person.at(chromium, server, "ada");
  const bob = await Native.at(server, "bob");
  const watching = await Native.at(server, "dan");
  const cleo = createClient({ url: server.url, user: "cleo", transport: "sse", storage: "memory" });
  try {
    const page = await ada.tab();
    // Letters of one, two, three and four bytes, of one and two UTF-16 units: all count in the same places.
    const address = await write(page, "Über uns 🎈", "naïve 🙂 日本");
    await synced(page);
    const watch = await watching.watch(address);
    const [post, likes, talk] = FACETS.map((facet) => cleo[facet](address));
    await Promise.all([post, likes, talk].map(async (document) => {
      document.subscribe(() => {});
      await eventually(`${document.address} by events`, () => document.status.getSnapshot().live);
    }));
    assert.equal(cleo.connection.getSnapshot().transport, "sse");

    // Each answers the one before.
    await comment(page, "from the browser 🙂");
    await eventually("the browser's comment by events", () => talk.getSnapshot().count === 1);
    const [first] = talk.getSnapshot().thread;
    assert.deepEqual(await talk.add("by events, in 日本", { parent: first.id }), { type: "confirmed" });
    const { id: answer } = await bob.run("comment", address, "from the terminal: naïve", "--reply-to", first.id);
    await bob.run("like", address, "--comment", first.id, "--reaction", "🎉");
    await likes.like("post");
    await page.getByRole("button", { name: /^Like/ }).first().click();
    await watch.says("from the terminal: naïve");

    // And all at the same time.
    await editor(page).click();
    await page.keyboard.press("Control+End");
    await Promise.all([
      page.keyboard.type(" 👍 typed", { delay: 10 }),
      page.evaluate(async (address) => { await globalThis.syncline.comments(address).add("at once, from the browser"); }, address),
      talk.add("at once, by events"),
      likes.like("post", "love"),
      bob.run("comment", address, "at once, from the terminal")
        .then(() => bob.run("edit", address, "from the terminal, edited", "--comment", answer)),
    ]);

    let agreed;
    await eventually("equal heads everywhere", async () => {
      const inPage = await page.evaluate(async ([address, facets]) => await Promise.all(facets.map(async (facet) => {
        const { live, pending } = globalThis.syncline[facet](address).status.getSnapshot();
        return live && pending === 0 ? await globalThis.syncline.heads(`${address}/${facet}`) : undefined;
      })), [address, FACETS]);
      const all = [inPage, await heads(cleo, address), await bob.heads(address)];
      agreed = all[0];
      return agreed.every((heads) => heads?.length > 0) && all.every((one) => JSON.stringify(one) === JSON.stringify(agreed));
    });
    await Promise.all(["at once, by events", "at once, from the terminal"].map((text) => watch.says(text)));
    await watch.end();
    // What watched has it on its own disk, and the server tells who only reads.
    assert.deepEqual(await watching.heads(address, "--offline"), agreed);
    const told = await Promise.all(FACETS.map(async (facet) => {
      const answer = await fetch(`${server.url}/v1/documents/${address}/${facet}?user=dan`);
      return (await answer.json()).heads;
    }));
    assert.deepEqual(told, agreed);
    const bodies = talk.getSnapshot().thread.map(({ body }) => body).toSorted();
    assert.deepEqual(bodies, [
      "at once, by events", "at once, from the browser", "at once, from the terminal", "by events, in 日本",
      "from the browser 🙂", "from the terminal, edited",
    ]);
    assert.deepEqual([post.getSnapshot().title, post.getSnapshot().body], ["Über uns 🎈", "naïve 🙂 日本 👍 typed"]);
  } finally {
    await cleo.close();
    await Promise.all([bob, watching].map((native) => native.leave()));
    await ada.leave();
  }
});
