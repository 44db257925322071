// The part of the server's API that the page uses.

import { currentKey, keyHeader, obtainKey, wantsKey } from "./key.js";

// Bitmaps cannot run scripts; an SVG opened by its blob: URL would be a page on this origin.
const PIXELS = new Set(["image/gif", "image/jpeg", "image/png", "image/webp"]);

export class ApiError extends Error {
  constructor(message, hint, needsKey = false) {
    super(message);
    this.hint = hint ?? "";
    this.needsKey = needsKey;
  }
}

const fail = async (response) => {
  const { error } = await response.json().catch(() => ({}));
  const needsKey = wantsKey(response);
  throw new ApiError(error?.message ?? `The server responded with status ${response.status}.`, needsKey ? "" : error?.hint, needsKey);
};

const reach = (request) => request.catch((error) => {
  if (error.name === "AbortError") throw error;
  throw new ApiError("The server cannot be reached.", "Is it still running?");
});

// A URL from a bundle could be anything, but the key must be sent to this server only.
const own = (url) => {
  const target = new URL(url, location.origin);
  if (target.origin !== location.origin) throw new ApiError("This URL is not on this server.", target.origin);
  return target;
};

const ask = async (url, options = {}) => {
  const target = own(url);
  for (;;) {
    const used = currentKey();
    const response = await reach(fetch(target, { ...options, headers: { ...options.headers, ...keyHeader(used) } }));
    if (response.ok) return response;
    if (!wantsKey(response) || !(await obtainKey(used))) return fail(response);
  }
};

export const readJson = async (url, options) => (await ask(url, options)).json();

// { models, feedback }: what is served, and whether the server collects feedback.
export const listModels = () => readJson("/models");

const asJson = (value, signal) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value), signal });

export const predict = (model, values, signal) => readJson(`/predict/${encodeURIComponent(model)}`, asJson(values, signal));

// Many items in one request: a prediction or an error for each.
export const predictList = async (model, items, signal) => (await predict(model, items, signal)).predictions;

// A response that is read while the server writes it.
export const openStream = (url, value, signal) => ask(url, asJson(value, signal));

export const sendFeedback = (model, record) => readJson(`/feedback/${encodeURIComponent(model)}`, asJson(record));

export const undoFeedback = (model, id, token) =>
  readJson(`/feedback/${encodeURIComponent(model)}/${id}`, { method: "DELETE", headers: { "x-modelpad-token": token } });

// The rows with their predictions, as CSV.
export const predictCsv = async (model, body, signal) =>
  (await ask(`/predict/${encodeURIComponent(model)}`, {
    method: "POST",
    headers: { "content-type": "text/csv", accept: "text/csv" },
    body,
    signal,
  })).text();

export const readAsDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new ApiError("The file cannot be read.", "Choose another file."));
  reader.readAsDataURL(blob);
});

// The URL of an image of the report; null for a path that leaves the bundle.
export const fileUrl = (model, file) => {
  const parts = String(file).split("/");
  if (parts.some((part) => ["", ".", ".."].includes(part))) return null;
  return `/models/${encodeURIComponent(model)}/files/${parts.map(encodeURIComponent).join("/")}`;
};

const files = new Map(); // by URL, for as long as the page is open

export const readFile = (url) => {
  if (!files.has(url)) {
    const loading = ask(url).then((response) => response.blob());
    loading.catch(() => files.delete(url));
    files.set(url, loading);
  }
  return files.get(url);
};

// Shows a file from this server in an <img>, which cannot send an API key itself.
export const showPicture = async (image, url) => {
  try {
    const blob = await readFile(url);
    image.src = PIXELS.has(blob.type) ? URL.createObjectURL(blob) : await readAsDataUrl(blob);
  } catch {
    image.classList.add("missing");
  }
};
