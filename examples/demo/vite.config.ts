import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Where `npm run dev` finds a sync server. */
const server = process.env["SYNCLINE_SERVER"] ?? "http://127.0.0.1:4400";

export default defineConfig({
  plugins: [react()],
  // The package is linked to, and has these of its own for its tests; the page must have one of each.
  resolve: { preserveSymlinks: true, dedupe: ["react", "react-dom", "@codemirror/state", "@codemirror/view"] },
  // Its WebAssembly is found beside its code, which packing it for development would move.
  optimizeDeps: { exclude: ["syncline"] },
  server: { proxy: { "/v1": { target: server, ws: true } } },
  build: {
    outDir: "../../target/web/demo",
    emptyOutDir: true,
    // Nothing inlined: the page's policy lets only files of its own server be scripts and pictures.
    assetsInlineLimit: 0,
    // The server is one binary; maps would double it.
    sourcemap: false,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
});
