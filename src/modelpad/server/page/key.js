// The API key, if the server needs one: entered in a dialog and kept for this tab only.

import { make } from "./dom.js";

const NAME = "modelpad-key";
const SENDABLE = /^[\x20-\x7e\xa0-\xff]+$/; // what a header can carry

let key = null;
let asking = null;
const listeners = [];
try { key = sessionStorage.getItem(NAME); } catch { /* storage is blocked: the key lasts until the page is closed */ }

const keep = (value) => {
  key = value;
  try {
    if (value) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  } catch { /* as above */ }
  for (const listener of listeners) listener();
};

export const currentKey = () => key;
export const forgetKey = () => keep(null);
export const onKeyChange = (listener) => { listeners.push(listener); listener(); };
export const keyHeader = (value = key) => (value ? { "x-api-key": value } : {});

// This header asks for a key: the server sends it with 401, and with 429 after wrong keys.
export const wantsKey = (response) => /^bearer/i.test(response.headers.get("www-authenticate") ?? "");

// What is wrong with a key; "" if the server accepts it.
const check = async (candidate) => {
  if (!SENDABLE.test(candidate)) return "Unknown API key. Check it and try again.";
  const response = await fetch("/models", { method: "HEAD", headers: keyHeader(candidate), cache: "no-store" }).catch(() => null);
  if (!response) return "The server cannot be reached. Is it still running?";
  if (!wantsKey(response)) return "";
  if (response.status !== 429) return "Unknown API key. Check it and try again.";
  return `Too many wrong keys from your address. Try again in ${response.headers.get("retry-after")} seconds.`;
};

const openDialog = (message) => new Promise((resolve) => {
  const input = make("input", { type: "password", id: "key", autocomplete: "current-password", autocapitalize: "off", spellcheck: "false", required: true, autofocus: true, "aria-describedby": "key-note" });
  const problem = make("p", { class: "key-problem", role: "alert" }, message);
  const show = make("button", { type: "button", class: "key-show", "aria-pressed": "false", onclick: () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    show.textContent = hidden ? "Hide" : "Show";
    show.setAttribute("aria-pressed", String(hidden));
    input.focus();
  } }, "Show");
  const go = make("button", { class: "main" }, "Continue");
  const form = make("form", { method: "dialog" },
    make("input", { type: "text", autocomplete: "username", value: location.host, hidden: true }), // for password managers
    make("label", { for: "key" }, "API key"),
    make("div", { class: "key-row" }, input, show),
    problem,
    make("p", { class: "key-note", id: "key-note" }, "The key is kept in this tab until you close it, and sent to this server only."),
    make("div", { class: "key-actions" }, make("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), go));
  const dialog = make("dialog", { class: "key", "aria-labelledby": "key-title" },
    make("h2", { id: "key-title" }, "This server is protected"),
    make("p", { class: "key-lead" }, "Ask the person who runs it for an API key."), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    const candidate = input.value.trim();
    problem.textContent = await check(candidate);
    go.disabled = false;
    if (!dialog.open) return;
    if (problem.textContent) return input.select();
    keep(candidate);
    dialog.close();
  });
  dialog.addEventListener("close", () => { dialog.remove(); resolve(); });
  document.body.append(dialog);
  dialog.showModal();
});

// Asks for a key, once for all pending requests; returns whether the key is now a different one.
export const obtainKey = async (used) => {
  if (key === used) {
    asking ??= openDialog(used ? "Your API key is no longer accepted." : "").finally(() => { asking = null; });
    await asking;
  }
  return key !== used;
};
