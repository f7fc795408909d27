// The declarations by each way in which TypeScript looks for them, as a module and as CommonJS.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

// The inlined engine is a module alone.
const required = readFileSync("app.tsx", "utf8").replace('import engine from "syncline/wasm/inline";', "declare const engine: BufferSource;");
writeFileSync("required.cts", required.replace(/return <.*>;/, "return view.title;"));
writeFileSync("imported.mts", readFileSync("app.tsx", "utf8").replace(/return <.*>;/, "return view.title;"));
for (const [module, resolution, ...files] of [
  ["ESNext", "Bundler", "app.tsx"], ["Node16", "Node16", "required.cts", "imported.mts"], ["NodeNext", "NodeNext", "required.cts", "imported.mts"],
]) {
  const options = ["--noEmit", "--strict", "--jsx", "react-jsx", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--types", "react"];
  execFileSync("npx", ["tsc", ...options, "--module", module, "--moduleResolution", resolution, ...files], { stdio: "inherit" });
}
console.log("types: ok");
