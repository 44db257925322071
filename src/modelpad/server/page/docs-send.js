// Sends the request of a form and shows the response, whatever its status, as it arrives.

import { make } from "./dom.js";
import { currentKey, keyHeader, obtainKey, wantsKey } from "./key.js";

const MAX_SHOWN = 100_000; // characters of a response

const reach = async ({ method, url, headers, type, body }, signal) => {
  for (;;) {
    const used = currentKey();
    const sent = { ...headers, ...(body === null ? {} : { "content-type": type }), ...keyHeader(used) };
    const response = await fetch(url, { method, headers: sent, body: body ?? undefined, signal });
    if (!wantsKey(response) || !(await obtainKey(used))) return response;
  }
};

const pretty = (text, type) => {
  if (!type.includes("json") || text.length > MAX_SHOWN) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
};

const readText = async (response, show) => {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (; reader;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
    show(text.slice(0, MAX_SHOWN));
  }
  return text;
};

// { element, run(request), stop() }
export const responseView = () => {
  const line = make("p", { class: "status", role: "status" });
  const shown = make("pre", { tabindex: 0, "aria-label": "Response", hidden: true });
  const picture = make("img", { class: "picture", alt: "The picture of the response", hidden: true });
  let running = null;
  const stop = () => running?.abort();
  const run = async (request) => {
    stop();
    const mine = running = new AbortController();
    const start = performance.now();
    line.textContent = "Sending …";
    shown.hidden = picture.hidden = true;
    try {
      const response = await reach(request, mine.signal);
      const type = response.headers.get("content-type") ?? "";
      const told = () => `${response.status} ${response.statusText}`.trim() + ` · ${Math.round(performance.now() - start)} ms${type ? ` · ${type}` : ""}`;
      line.textContent = told();
      if (/^image\/(png|jpeg|webp|gif)/.test(type)) {
        URL.revokeObjectURL(picture.src);
        picture.src = URL.createObjectURL(await response.blob());
        picture.hidden = false;
      } else {
        const put = (text) => { shown.textContent = text; shown.hidden = !text; };
        const text = await readText(response, put);
        put(pretty(text, type).slice(0, MAX_SHOWN) + (text.length > MAX_SHOWN ? "\n…" : ""));
      }
      line.textContent = told();
    } catch (error) {
      if (mine !== running) return;
      line.textContent = error.name === "AbortError" ? "Stopped." : "The server cannot be reached. Is it still running?";
    }
  };
  return { element: make("div", { class: "response" }, line, shown, picture), run, stop };
};
