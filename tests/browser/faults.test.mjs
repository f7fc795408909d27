// What happens when something fails: networks, servers, tabs.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";
import { Person, Server, agree, browser, comment, comments, editor, eventually, inPhase, postAt, reads, started, synced, until, write } from "./world.mjs";

let server, first, second;
before(async () => {
  [server, first, second] = await Promise.all([Server.start(), browser(), browser()]);
});
after(async () => {
  await Promise.all([first?.close(), second?.close()]);
  await server?.stop();
});

/** Waits until everything that a page's client holds is on the device's disk. */
async function stored(page, address, count) {
  await until(page, ([address, count]) => globalThis.syncline.comments(address).getSnapshot().thread.length === count, [address, count]);
}

test("offline edits of two, a reload while offline, and all is there once", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "Written in a tunnel", "Before.");
  const b = await bob.tab(postAt(address));
  await a.getByRole("button", { name: "let bob write" }).click();
  await editor(b).waitFor();
  await Promise.all([a, b].map(async (page) => {
    await synced(page);
    // The page itself is on the device from here on.
    await until(page, () => document.documentElement.dataset.kept !== undefined);
  }));

  await Promise.all([ada, bob].map(({ context }) => context.setOffline(true)));
  await Promise.all([a, b].map((page) => inPhase(page, "offline", "reconnecting")));
  for (const [page, name] of [[a, "ada"], [b, "bob"]]) {
    await editor(page).click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type(` ${name} was here.`);
    await comment(page, `${name}, offline`);
    await page.getByRole("button", { name: /^Like/ }).first().click();
    await until(page, () => globalThis.syncline.sync.getSnapshot().pending >= 3);
    await page.reload();
    await started(page);
    await reads(page, `${name} was here.`);
    await page.getByText(`${name}, offline`, { exact: true }).waitFor();
    assert.ok(await page.evaluate(() => globalThis.syncline.sync.getSnapshot().pending) >= 3, "it is still to be sent");
  }
  await Promise.all([ada, bob].map(({ context }) => context.setOffline(false)));
  await Promise.all([a, b].map(synced));
  await agree(address, a, b);
  const text = await a.evaluate((address) => globalThis.syncline.post(address).getSnapshot().body, address);
  assert.ok(["Before. ada was here. bob was here.", "Before. bob was here. ada was here."].includes(text), text);
  assert.deepEqual((await comments(b, address)).toSorted(), ["ada, offline", "bob, offline"]);
  await a.getByRole("button", { name: "Like, 2 people" }).waitFor();
  await ada.leave();
  await bob.leave();
});

test("a server that is killed and comes back while people type loses nothing", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "Through a crash");
  const b = await bob.tab(postAt(address));
  const sentence = "every letter of this sentence is there once, in its order";
  await editor(a).click();
  const typing = a.keyboard.type(sentence, { delay: 30 });
  await until(b, (address) => globalThis.syncline.post(address).getSnapshot().body.startsWith("every letter"), address);
  await server.kill();
  await typing;
  await inPhase(a, "reconnecting", "connecting");
  await server.start();
  await Promise.all([a, b].map((page) => page.evaluate(() => globalThis.syncline.reconnect())));
  await synced(a);
  await agree(address, a, b);
  assert.equal(await b.evaluate((address) => globalThis.syncline.post(address).getSnapshot().body, address), sentence);
  await ada.leave();
  await bob.leave();
});

test("what was not allowed is rolled back, and the reason is shown", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "Yours for a while", "Mine.");
  const b = await bob.tab(postAt(address));
  await a.getByRole("button", { name: "let bob write" }).click();
  await editor(b).waitFor();
  await Promise.all([a, b].map(synced));
  await b.getByRole("switch", { name: "Online" }).click();
  await inPhase(b, "idle", "offline");
  // Meanwhile bob may not any more, and does not know.
  await a.getByRole("button", { name: "Let bob write no more" }).click();
  await synced(a);
  await editor(b).click();
  await b.keyboard.press("Control+End");
  await b.keyboard.type(" And mine?");
  await reads(b, "Mine. And mine?");
  await b.getByRole("switch", { name: "Online" }).click();
  const told = b.getByRole("region", { name: "What was not accepted" });
  await told.getByText("Your edit was not taken").first().waitFor();
  await told.getByText(/not allowed|Only its author|may/).first().waitFor();
  await b.getByTestId("body").getByText("Mine.", { exact: true }).waitFor();
  assert.equal(await b.evaluate((address) => globalThis.syncline.post(address).getSnapshot().body, address), "Mine.");
  await agree(address, a, b);
  await ada.leave();
  await bob.leave();
});

test("the leading tab closes with edits pending and another tab brings them", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const leader = await ada.tab();
  const address = await write(leader, "Handed over");
  const [follower, b] = [await ada.tab(postAt(address)), await bob.tab(postAt(address))];
  await Promise.all([leader, follower].map(synced));
  await server.kill();
  await inPhase(leader, "reconnecting", "connecting");
  await comment(leader, "pending in the leader");
  await comment(follower, "pending in the follower");
  await stored(leader, address, 2);
  // Not saying goodbye.
  await leader.close({ runBeforeUnload: false });
  await until(follower, () => globalThis.syncline.connection.getSnapshot().leads);
  await stored(follower, address, 2);
  await server.start();
  await Promise.all([follower, b].map((page) => page.evaluate(() => globalThis.syncline.reconnect())));
  await Promise.all([follower, b].map(synced));
  await agree(address, follower, b);
  assert.deepEqual((await comments(b, address)).toSorted(), ["pending in the follower", "pending in the leader"]);
  await ada.leave();
  await bob.leave();
});

test("a hidden tab pauses after a while and catches up when it is seen", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  // Headless pages are always visible, and five minutes are long: both are told to the page by hand.
  await ada.context.clock.install();
  const a = await ada.tab();
  const address = await write(a, "Out of sight");
  const b = await bob.tab(postAt(address));
  await synced(a);
  const show = (visibility) => a.evaluate((visibility) => {
    Object.defineProperty(document, "visibilityState", { value: visibility, configurable: true });
    Object.defineProperty(document, "hidden", { value: visibility === "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, visibility);
  await show("hidden");
  await eventually("the pause", async () => {
    await ada.context.clock.fastForward("01:00");
    return (await a.evaluate(() => globalThis.syncline.connection.getSnapshot().phase)) === "paused";
  });
  await comment(b, "said behind your back");
  await synced(b);
  assert.deepEqual(await comments(a, address), []);
  await show("visible");
  await eventually("the comment", async () => {
    await ada.context.clock.runFor(100);
    return (await comments(a, address)).length === 1;
  });
  await inPhase(a, "connected");
  await ada.leave();
  await bob.leave();
});

test("where WebSocket is blocked, it goes by server-sent events", async () => {
  // A proxy that knows nothing of upgrades, as there are some.
  const proxy = http.createServer((request, response) => {
    const onward = http.request({ port: server.port, host: "127.0.0.1", path: request.url, method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  proxy.on("upgrade", (_, socket) => socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"));
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const behind = { url: `http://127.0.0.1:${proxy.address().port}` };
  const [ada, bob] = [await Person.at(first, behind, "ada"), await Person.at(second, server, "bob")];
  try {
    const a = await ada.tab();
    await inPhase(a, "connected");
    assert.equal(await a.evaluate(() => globalThis.syncline.connection.getSnapshot().transport), "sse");
    const address = await write(a, "Through the proxy");
    const b = await bob.tab(postAt(address));
    await inPhase(b, "connected");
    assert.equal(await b.evaluate(() => globalThis.syncline.connection.getSnapshot().transport), "websocket");
    await comment(b, "by socket");
    await a.getByText("by socket", { exact: true }).first().waitFor();
    await comment(a, "by events");
    await b.getByText("by events", { exact: true }).first().waitFor();
    await agree(address, a, b);
  } finally {
    await ada.leave();
    await bob.leave();
    proxy.closeAllConnections();
    proxy.close();
  }
});

test("a dropped connection and a slow one are lived through", async () => {
  const [ada, bob] = [await Person.at(first, server, "ada"), await Person.at(second, server, "bob")];
  const a = await ada.tab();
  const address = await write(a, "Bad weather");
  const b = await bob.tab(postAt(address));
  const slider = a.getByRole("slider", { name: /Latency/ });
  await slider.fill("400");
  const begin = await a.evaluate(() => performance.now());
  await comment(a, "slowly");
  await synced(a);
  const took = (await a.evaluate(() => performance.now())) - begin;
  assert.ok(took >= 800, `there and back takes two times the latency, and took ${took} ms`);
  await slider.fill("0");
  await a.getByRole("button", { name: "Drop the connection" }).click();
  await inPhase(a, "reconnecting", "connecting", "authenticating");
  await comment(a, "in between");
  await inPhase(a, "connected");
  await b.getByText("in between", { exact: true }).first().waitFor();
  await agree(address, a, b);
  await ada.leave();
  await bob.leave();
});
