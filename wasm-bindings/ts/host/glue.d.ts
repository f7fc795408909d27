/** What `glue.mjs` makes of the JavaScript that wasm-bindgen writes: the same as a function, so that it can be run twice. */

import type { EngineModule } from "./engine.js";

/** A new instance of the module. */
export function bind(module: WebAssembly.Module): Promise<EngineModule>;
