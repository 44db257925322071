// Keeps all files of this page, of one version, for use without a network.

const VERSION = "{version}";
const FILES = {files};
const NAME = `modelpad-${registration.scope}`, CACHE = `${NAME}-${VERSION}`;

addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })))).then(() => skipWaiting()));
});
addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith(`${NAME}-`) && name !== CACHE) await caches.delete(name);
    await clients.claim();
  })());
});
addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(registration.scope)) return;
  event.respondWith((async () => (await (await caches.open(CACHE)).match(event.request, { ignoreSearch: true })) ?? fetch(event.request))());
});
