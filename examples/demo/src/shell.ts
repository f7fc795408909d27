/** Keeps the page on the device, so that it opens offline as well. Without a service worker it is only a page. */
import wasm from "syncline/wasm?url";

export async function keepShell(): Promise<void> {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  try {
    await navigator.serviceWorker.register("/sw.js");
    const { active } = await navigator.serviceWorker.ready;
    active?.postMessage({ keep: ["/", wasm, ...loaded()] });
    document.documentElement.dataset["kept"] = "";
  } catch {
    // Private windows of some browsers have none.
  }
}

/** A tab that shares another's engine has not loaded that itself. */
function loaded(): readonly string[] {
  const files = performance.getEntriesByType("resource").map(({ name }) => new URL(name));
  return files.filter(({ pathname }) => pathname.startsWith("/assets/") || pathname === "/icon.svg").map(({ href }) => href);
}
