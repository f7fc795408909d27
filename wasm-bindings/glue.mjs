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
  // The caller says where the module is.
  const place = /if \(module_or_path === undefined\) \{\s*module_or_path = new URL\([^)]*import\.meta\.url\);\s*\}/;
  if (!place.test(code)) throw new Error("wasm-bindgen's output does not look as it did");
  code = code.replace(place, "");
  code = code.replace(/^export \{[^}]*\};?\s*$/gm, "").replace(/^export (?=class|function|async)/gm, "");
  if (/^\s*(import|export)\b(?!\.)/m.test(code) || /import\.meta/.test(code)) throw new Error("wasm-bindgen's output imports or exports more than it did");
  const indented = code.replace(/\/\*\*?[^]*?\*\//g, "").replace(/^\/\* @ts-self-types.*$/m, "");
  await writeFile(join(here, "ts/host/glue.js"), `export async function bind(module) {\n${indented}\nawait __wbg_init({ module_or_path: module });\nreturn { Engine };\n}\n`);
  return join(directory, module);
}

export const defaultDirectory = join(here, "../target/wasm/web");
