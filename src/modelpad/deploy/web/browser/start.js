// Keeps the page for use without a network, where the browser can.

const policy = globalThis.trustedTypes?.createPolicy("modelpad", { createScriptURL: () => "service-worker.js" });
if (location.protocol.startsWith("http")) navigator.serviceWorker?.register(policy?.createScriptURL("") ?? "service-worker.js").catch(() => {});
