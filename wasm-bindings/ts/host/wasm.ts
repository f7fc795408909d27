/** Gets the engine: finds its code, compiles it once, and makes an instance of its own for each engine. */

import { bind } from "./glue.js";
import { messageOf, SynclineError } from "../errors.js";
import type { WasmSource } from "../types.js";
import type { EngineModule } from "./engine.js";

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
    if (url.protocol === "file:") return await WebAssembly.compile(await readFile(url));
    return await compileResponse(await fetch(url));
  }
  return await WebAssembly.compile(source as BufferSource);
}

async function compileResponse(response: Response): Promise<WebAssembly.Module> {
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
  // Servers that do not know the type are common; compiling while it loads needs it.
  if (response.headers.get("content-type")?.split(";")[0]?.trim() === "application/wasm" && WebAssembly.compileStreaming) {
    return await WebAssembly.compileStreaming(response);
  }
  return await WebAssembly.compile(await response.arrayBuffer());
}

async function readFile(url: URL): Promise<BufferSource> {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const fs = process?.getBuiltinModule?.("node:fs/promises") as { readFile(url: URL): Promise<Uint8Array<ArrayBuffer>> } | undefined;
  if (fs) return await fs.readFile(url);
  return await (await fetch(url)).arrayBuffer();
}
