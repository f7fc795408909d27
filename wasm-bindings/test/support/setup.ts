/** Before all tests: the engine's JavaScript, and a server's binary. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { defaultDirectory, glue } from "../../glue.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));

export default async function setup(): Promise<void> {
  process.env.SYNCLINE_WASM = await glue(process.env.SYNCLINE_WEB ?? defaultDirectory);
  const binary = process.env.SYNCLINE_SERVER ?? `${root}target/debug/syncline-server`;
  if (!existsSync(binary)) {
    execFileSync("cargo", ["build", "--locked", "--package", "syncline-server"], { cwd: root, stdio: "inherit" });
  }
  process.env.SYNCLINE_SERVER = binary;
}
