/** A real server on a port of its own, with its data in a directory of its own. */

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Server {
  #process: ChildProcess | undefined;

  private constructor(readonly port: number, private readonly data: string, private readonly flags: readonly string[]) {}

  static async start(...flags: string[]): Promise<Server> {
    const server = new Server(await freePort(), await mkdtemp(join(tmpdir(), "syncline-ts-")), flags);
    await server.begin();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async begin(): Promise<void> {
    const child = spawn(
      process.env.SYNCLINE_SERVER!,
      ["--listen", `127.0.0.1:${this.port}`, "--data", this.data, ...this.flags],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#process = child;
    let said = "";
    child.stderr!.on("data", (text) => { said += String(text); });
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the server ended: ${said}`);
      const well = await fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false);
      if (well) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ends the process as a crash does. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.data, { recursive: true, force: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
