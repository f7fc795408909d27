// Builds the package into dist/: modules, CommonJS, declarations, the engine, and a report of what it all weighs.
// Needs what `cargo xtask wasm` makes; `SYNCLINE_WEB` says where that is, if elsewhere.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync } from "node:zlib";

import { build } from "esbuild";

import { defaultDirectory, glue } from "./glue.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = join(here, "dist");
const KB = 1000;

const peers = ["react", "react-dom", "@codemirror/state", "@codemirror/view"];
const external = peers.flatMap((name) => [name, `${name}/*`]);
const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  sourcemap: true,
  legalComments: "none",
  target: "es2022",
  platform: "neutral",
  external,
  jsx: "automatic",
  metafile: true,
  logLevel: "warning",
};

/** A page of CommonJS is found by its file, and the engine lies beside the modules. */
const commonJs = {
  define: { "import.meta.url": "__syncline_base" },
  banner: { js: `"use strict";const __syncline_base=typeof __filename==="string"?require("node:url").pathToFileURL(__filename).href.replace(/cjs\\/[^/]*$/,"index.js"):document.baseURI;` },
};

/** One copy of the client for all that is required. */
const besideClient = {
  name: "beside-client",
  setup(build) {
    build.onResolve({ filter: /^\.\.\/(index|errors|client)\.js$/ }, () => ({ path: "./index.cjs", external: true }));
  },
};

async function modules() {
  const entryPoints = { index: "ts/index.ts" };
  if (existsSync(join(here, "ts/react/index.ts"))) entryPoints["react/index"] = "ts/react/index.ts";
  if (existsSync(join(here, "ts/codemirror/index.ts"))) entryPoints["codemirror/index"] = "ts/codemirror/index.ts";
  const { metafile } = await build({
    ...common, entryPoints, outdir: dist, format: "esm", splitting: true, chunkNames: "chunk-[hash]",
  });
  await build({ ...common, ...commonJs, entryPoints: ["ts/index.ts"], outfile: join(dist, "cjs/index.cjs"), format: "cjs" });
  for (const name of ["react", "codemirror"]) {
    if (!entryPoints[`${name}/index`]) continue;
    const entry = { entryPoints: [`ts/${name}/index.ts`], outfile: join(dist, `cjs/${name}.cjs`) };
    await build({ ...common, ...commonJs, ...entry, format: "cjs", plugins: [besideClient] });
  }
  await Promise.all(["react/index.js", "cjs/react.cjs"].map((file) => onlyForClients(join(dist, file))));
  return metafile;
}

/** Server components may import it, and leave it to the client. */
async function onlyForClients(file) {
  await writeFile(file, `"use client";\n${await readFile(file, "utf8")}`);
  const map = JSON.parse(await readFile(`${file}.map`, "utf8"));
  // Everything is a line further down.
  await writeFile(`${file}.map`, JSON.stringify({ ...map, mappings: `;${map.mappings}` }));
}

async function declarations() {
  const tsc = (...options) => {
    const { status } = spawnSync("npx", ["tsc", "-p", "tsconfig.build.json", ...options], { cwd: here, stdio: "inherit" });
    if (status !== 0) throw new Error("the declarations could not be made");
  };
  tsc();
  // What is required is declared as CommonJS, which the folder's own package.json says it is.
  tsc("--outDir", join(dist, "cjs/types"));
  await writeFile(join(dist, "cjs/package.json"), '{ "type": "commonjs" }\n');
  // Files that only bundlers can import, by either kind of import.
  const address = "/** Where the engine's file is, for `createClient({ wasm })` with a bundler that answers an import of a file with its address. */\ndeclare const address: string;\nexport default address;\n";
  for (const folder of [dist, join(dist, "cjs/types")]) {
    await writeFile(join(folder, "styles.d.ts"), "export {};\n");
    await writeFile(join(folder, "wasm.d.ts"), address);
  }
}

async function licences() {
  for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) await copyFile(join(here, "..", name), join(dist, name));
}

async function engine(module) {
  await mkdir(join(dist, "wasm"), { recursive: true });
  await copyFile(module, join(dist, "wasm/syncline.wasm"));
  const base64 = (await readFile(module)).toString("base64");
  await writeFile(join(dist, "wasm/inline.js"), `export default Uint8Array.from(atob("${base64}"),(c)=>c.charCodeAt(0));\n`);
  await writeFile(join(dist, "wasm/inline.d.ts"), "/** The engine itself, for `createClient({ wasm })` where files beside the code are not served. */\ndeclare const engine: BufferSource;\nexport default engine;\n");
}

async function styles() {
  const entry = join(here, "ts/react/styles.css");
  if (existsSync(entry)) await build({ absWorkingDir: here, entryPoints: [entry], outfile: join(dist, "react/styles.css"), minify: true });
}

/** All files that an entry brings along. */
function brought(metafile, entry, seen = new Set()) {
  const output = metafile.outputs[entry];
  if (!output || seen.has(entry)) return seen;
  seen.add(entry);
  for (const { path, external } of output.imports) if (!external) brought(metafile, path, seen);
  return seen;
}

async function weigh(metafile) {
  const budget = JSON.parse(await readFile(join(here, "size-budget.json"), "utf8"));
  const gzipped = async (file) => gzipSync(await readFile(file), { level: constants.Z_BEST_COMPRESSION }).length;
  let over = false;
  let client = 0;
  console.log("what is downloaded, gzipped:");
  const report = (what, bytes, max) => {
    const verdict = bytes > max * KB ? "TOO LARGE" : "ok";
    over ||= bytes > max * KB;
    console.log(`  ${what.padEnd(24)} ${(bytes / KB).toFixed(1).padStart(8)} KB of ${String(max).padStart(5)}  ${verdict}`);
  };
  for (const { entry, gzip_kb_max, counts, reason } of budget.entries) {
    if (!reason) throw new Error(`the budget of ${entry} has no reason`);
    if (!existsSync(join(dist, entry))) continue;
    const files = entry.endsWith(".js") ? [...brought(metafile, `dist/${entry}`)].map((file) => join(here, file)) : [join(dist, entry)];
    // What another entry has brought already is not downloaded again.
    const rest = counts === "beside" ? files.filter((file) => !brought(metafile, "dist/index.js").has(file.slice(here.length))) : files;
    const sizes = await Promise.all(rest.map(gzipped));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    if (counts === "client") client += bytes;
    report(entry, bytes, gzip_kb_max);
  }
  report("the client as a whole", client, budget.client_gzip_kb_max);
  if (over) throw new Error("something is larger than size-budget.json allows");
}

const module = await glue(process.env.SYNCLINE_WEB ?? defaultDirectory);
await rm(dist, { recursive: true, force: true });
const metafile = await modules();
await declarations();
await licences();
await engine(module);
await styles();
await weigh(metafile);
