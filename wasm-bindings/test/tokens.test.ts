/** A server that believes only tokens. */

import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { client, until } from "./support/clients.js";
import { Server } from "./support/server.js";

const SECRET = Buffer.alloc(32, 7);
let server: Server;
let directory: string;

function token(user: string, seconds: number): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const said = `${part({ alg: "HS256", typ: "JWT", kid: "k" })}.${part({ sub: user, iat: now, exp: now + seconds })}`;
  return `${said}.${createHmac("sha256", SECRET).update(said).digest("base64url")}`;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "syncline-ts-keys-"));
  const keys = join(directory, "keys.json");
  await writeFile(keys, JSON.stringify({ keys: [{ kty: "oct", kid: "k", alg: "HS256", k: SECRET.toString("base64url") }] }));
  server = await Server.start("--auth-keys", keys);
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

test("a token is asked for at the beginning, and again when one is refused or there was none", async () => {
  let asked = 0;
  const answers = [() => { throw new Error("not signed in yet"); }, () => token("ada", -60), () => token("ada", 3600)];
  const ada = client(server.url, "ada", {
    storage: "memory",
    getToken: () => answers[Math.min(asked++, answers.length - 1)]!(),
  });
  const problems: string[] = [];
  ada.on("problem", ({ message }) => problems.push(message));
  expect(await ada.comments("town/tokens").add("proven")).toEqual({ type: "confirmed" });
  expect(asked).toBe(3);
  expect(problems.some((message) => message.includes("not signed in yet"))).toBe(true);
});

test("without a token it says so, and goes on when there is one", async () => {
  const ada = client(server.url, "ada", { storage: "memory" });
  const pending = ada.comments("town/tokens").add("later");
  await until(ada.connection, ({ phase, code }) => phase === "failed" && code === "unauthenticated");
  ada.setToken(token("ada", 3600));
  expect(await pending).toEqual({ type: "confirmed" });
});

test("an app that has no token to give is told so by the connection, and is asked again", async () => {
  for (const none of [undefined, "", null]) {
    let given: unknown = none;
    const ada = client(server.url, "ada", { storage: "memory", getToken: () => given as string });
    const pending = ada.comments("town/tokens").add("without");
    const { message } = await until(ada.connection, ({ phase, code }) => phase === "failed" && code === "unauthenticated");
    expect(message).toContain("getToken");
    given = token("ada", 3600);
    ada.reconnect();
    expect(await pending).toEqual({ type: "confirmed" });
    expect(ada.connection.getSnapshot()).not.toHaveProperty("code");
    await ada.close();
  }
});

test("where no token can be had for now, the connection says when it is tried again", async () => {
  let fails = true;
  const ada = client(server.url, "ada", {
    storage: "memory",
    getToken: () => fails ? Promise.reject(new Error("no network")) : token("ada", 3600),
  });
  const problems: string[] = [];
  ada.on("problem", ({ message }) => problems.push(message));
  const pending = ada.comments("town/tokens").add("in the end");
  const status = await until(ada.connection, ({ phase, code }) => phase === "reconnecting" && code === "unauthenticated");
  expect(status).toMatchObject({ message: expect.stringContaining("no network") as string, attempt: 1 });
  expect(status.nextAttemptAt).toBeGreaterThan(Date.now() - 1_000);
  expect(problems).toEqual([status.message]);
  ada.disconnect();
  await until(ada.connection, ({ phase, code }) => phase === "idle" && code === undefined);
  ada.connect();
  fails = false;
  ada.reconnect();
  expect(await pending).toEqual({ type: "confirmed" });
});
