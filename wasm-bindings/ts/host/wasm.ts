/** Gets the engine: finds its code, compiles it once, and makes an instance of its own for each engine. */

import { bind } from "./glue.js";
import { messageOf, SynclineError } from "../errors.js";
import type { WasmSource } from "../types.js";
import type { EngineModule } from "./engine.js";

/** How WebAssembly begins: `\0asm`. */
const MAGIC = [0x00, 0x61, 0x73, 0x6d];

/** What was compiled of the file beside this code. */
let beside: Promise<WebAssembly.Module> | undefined;

export function canRun(): boolean {
  return typeof WebAssembly === "object" && typeof WebAssembly.instantiate === "function";
}

export function withoutWebAssembly(): SynclineError {
  return new SynclineError(
    "no_webassembly",
    "this browser does not run WebAssembly (it may be switched off), which Syncline needs to keep and merge documents",
  );
}

/** A function that makes a new instance each time: one that trapped is not used again. */
export async function load(source: WasmSource | Promise<WasmSource> | undefined): Promise<() => Promise<EngineModule>> {
  if (!canRun()) throw withoutWebAssembly();
  const compiling = source === undefined ? (beside ??= compile(new URL("./wasm/syncline.wasm", import.meta.url))) : compile(await source);
  let module: WebAssembly.Module;
  try {
    module = await compiling;
  } catch (error) {
    // Trying again may help: it may have been the network.
    if (source === undefined) beside = undefined;
    if (error instanceof SynclineError) throw error;
    // A policy of the page forbids it: not the network's doing, and not to be mended by trying again.
    const code = error instanceof WebAssembly.CompileError ? "no_webassembly" : "engine_unavailable";
    throw new SynclineError(code, `the engine can't be loaded: ${messageOf(error)}`, { cause: error });
  }
  return () => bind(module);
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof Response !== "undefined" && source instanceof Response) return await compileResponse(source);
  if (typeof source === "string" || source instanceof URL) {
    const url = new URL(source, typeof location === "undefined" ? undefined : location.href);
    if (url.protocol === "file:") return await compileBytes(await readFile(url), url.href, "something else");
    return await compileResponse(await fetch(url));
  }
  return await compileBytes(source as BufferSource, "where `wasm` points", "something else");
}

/** Bytes that are none of WebAssembly are told from a platform that does not run it. */
async function compileBytes(bytes: BufferSource, at: string, answer: string): Promise<WebAssembly.Module> {
  const start = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
  if (MAGIC.some((byte, index) => start[index] !== byte)) throw notFound(at, answer);
  return await WebAssembly.compile(bytes);
}

/** Usually a tool that moved the code and left the file behind, and a server that answers with its page. */
function notFound(at: string, answer: string): SynclineError {
  return new SynclineError(
    "engine_unavailable",
    `the engine's WebAssembly was not found at ${at}: there is ${answer}. Vite's development server leaves it behind: ` +
    `set optimizeDeps: { exclude: ["syncline"] }, or import wasm from "syncline/wasm?url" and createClient({ wasm })`,
  );
}

async function compileResponse(response: Response): Promise<WebAssembly.Module> {
  const at = response.url || "where `wasm` points";
  const type = response.headers.get("content-type")?.split(";")[0]?.trim();
  if (response.status === 404 || type === "text/html") throw notFound(at, response.ok ? "text/html" : `status ${response.status}`);
  if (!response.ok) throw new Error(`${at} answered ${response.status}`);
  // Servers that do not know the type are common; compiling while it loads needs it.
  if (type === "application/wasm" && WebAssembly.compileStreaming) return await WebAssembly.compileStreaming(response);
  return await compileBytes(await response.arrayBuffer(), at, type ?? "something else");
}

async function readFile(url: URL): Promise<BufferSource> {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const fs = process?.getBuiltinModule?.("node:fs/promises") as { readFile(url: URL): Promise<Uint8Array<ArrayBuffer>> } | undefined;
  if (fs) return await fs.readFile(url);
  return await (await fetch(url)).arrayBuffer();
}
