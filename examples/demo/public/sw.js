// Keeps the page itself on the device, so that it opens without a network. What is in it is the library's affair:
// nothing under /v1 is touched.
const CACHE = "syncline-demo";

self.addEventListener("install", (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// The page tells what it was loaded from; what else is kept is of an older build.
self.addEventListener("message", (event) => {
  const { keep } = event.data ?? {};
  if (Array.isArray(keep)) event.waitUntil(keepOnly(keep));
});

async function keepOnly(urls) {
  const wanted = new Set(urls.map((url) => new URL(url, self.location.origin).href));
  const cache = await caches.open(CACHE);
  const kept = new Set((await cache.keys()).map((request) => request.url));
  const missing = [...wanted].filter((url) => !kept.has(url) && new URL(url).origin === self.location.origin);
  await cache.addAll(missing);
  await Promise.all([...kept].filter((url) => !wanted.has(url)).map((url) => cache.delete(url)));
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (request.mode === "navigate" && pathname === "/") event.respondWith(newest());
  else if (pathname.startsWith("/assets/") || pathname === "/icon.svg") event.respondWith(kept(request));
});

/** The page from the server while that answers, else the one that is here. */
async function newest() {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch("/", { cache: "no-cache" });
    if (answer.ok) await cache.put("/", answer.clone());
    return answer;
  } catch (error) {
    const known = await cache.match("/");
    if (known === undefined) throw error;
    return known;
  }
}

async function kept(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreVary: true })) ?? fetch(request);
}
