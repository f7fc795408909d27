// The gallery's page: bundled from the package as npm would publish it, and served on loopback. What bundles it and what
// the package's peers are is taken from the package's own folder, so there is one of each.
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { app } from "./app.js";

const PACKAGE = path.resolve(import.meta.dirname, "../../../wasm-bindings");
const DIST = path.join(PACKAGE, "dist");
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };
const page = (name, content) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Syncline's components</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/${name}.css">
<main id="gallery">${content}</main>
<script type="module" src="/${name}.js"></script>
</html>`;

/** What a server renders of the app, in Node and without a window. */
async function rendered() {
  const require = createRequire(path.join(PACKAGE, "package.json"));
  const [{ createClient }, parts] = await Promise.all(["index.js", "react/index.js"].map((file) => import(pathToFileURL(path.join(DIST, file)))));
  const client = createClient({ url: "http://127.0.0.1:1", user: "ada" });
  return require("react-dom/server").renderToString(app(require("react"), parts, client));
}

/** Bundles the page; answers its files by name. */
async function bundled() {
  if (!existsSync(path.join(DIST, "index.js"))) throw new Error("the package is not built: cargo xtask web, or npm run build in wasm-bindings");
  const { build } = createRequire(path.join(PACKAGE, "package.json"))("esbuild");
  const { outputFiles } = await build({
    entryPoints: ["main.jsx", "hydrate.js"].map((file) => path.join(import.meta.dirname, file)),
    outdir: import.meta.dirname, write: false, bundle: true, format: "esm", target: "es2022", jsx: "automatic", logLevel: "warning",
    nodePaths: [path.join(PACKAGE, "node_modules")],
    alias: {
      "syncline/react/styles.css": path.join(DIST, "react/styles.css"),
      "syncline/react": path.join(DIST, "react/index.js"),
      "syncline/codemirror": path.join(DIST, "codemirror/index.js"),
      syncline: path.join(DIST, "index.js"),
    },
    // React and react-dom look at it.
    define: { "process.env.NODE_ENV": '"development"' },
  });
  const files = new Map(outputFiles.map(({ path: file, contents }) => [`/${path.basename(file)}`, Buffer.from(contents)]));
  files.set("/wasm/syncline.wasm", await readFile(path.join(DIST, "wasm/syncline.wasm")));
  files.set("/", Buffer.from(page("main", "")));
  files.set("/rendered", Buffer.from(page("hydrate", await rendered())));
  return files;
}

/** Serves the gallery until it is closed. */
export async function serve() {
  const files = await bundled();
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://gallery");
    const file = files.get(pathname);
    if (file !== undefined) response.writeHead(200, { "content-type": TYPES[path.extname(pathname)] ?? "text/html; charset=utf-8" }).end(file);
    else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
