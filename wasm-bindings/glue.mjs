// Makes a function of the JavaScript that wasm-bindgen writes for the web: as a module it can have one instance only,
// and an engine that failed is replaced by one in another. Run with the directory of wasm-bindgen's output.

import { readFile, readdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const here = fileURLToPath(new URL(".", import.meta.url));

/** @returns where the module itself is */
export async function glue(directory) {
  const files = await readdir(directory);
  const module = files.find((file) => file.endsWith("_bg.wasm"));
  if (!module) throw new Error(`there is no wasm-bindgen output in ${directory}; run \`cargo xtask wasm\``);
  let code = await readFile(join(directory, module.replace("_bg.wasm", ".js")), "utf8");
  // What follows loads the module, which is done elsewhere.
  const end = code.indexOf("async function __wbg_load(");
  const needed = ["function __wbg_get_imports(", "function __wbg_finalize_init(", "export class Engine "];
  if (end < 0 || !needed.every((part) => code.includes(part))) throw new Error("wasm-bindgen's output does not look as it did");
  code = code.slice(0, end).replace(/^export (?=class|function)/gm, "").replace(/\/\*[^]*?\*\//g, "");
  if (/^\s*(import|export)\b/m.test(code) || code.includes("import.meta")) throw new Error("wasm-bindgen's output imports or exports more than it did");
  const head = "export async function bind(module) {";
  const tail = "__wbg_finalize_init(await WebAssembly.instantiate(module, __wbg_get_imports()), module);\nreturn { Engine };\n}";
  await writeFile(join(here, "ts/host/glue.js"), `${head}\n${code}\n${tail}\n`);
  return join(directory, module);
}

export const defaultDirectory = join(here, "../target/wasm/web");
