// What Vite built has the engine as a file of its own, which the code names.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";

const assets = readdirSync("dist/assets");
const engine = assets.find((file) => file.endsWith(".wasm"));
assert.ok(engine, `no engine among ${assets}`);
assert.ok(WebAssembly.validate(readFileSync(`dist/assets/${engine}`)));
const code = assets.filter((file) => file.endsWith(".js")).map((file) => readFileSync(`dist/assets/${file}`, "utf8")).join("");
assert.ok(code.includes(engine), "the code does not name the engine");
console.log("Vite: ok");
