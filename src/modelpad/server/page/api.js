// The part of the server's API that the page uses.

import { ApiError } from "./api-error.js";
import { ask } from "./transport.js";

// Bitmaps cannot run scripts; an SVG opened by its blob: URL would be a page on this origin.
const PIXELS = new Set(["image/gif", "image/jpeg", "image/png", "image/webp"]);

export const readJson = async (url, options) => (await ask(url, options)).json();

// { models, feedback, studio, videos }: what is served, and whether the server collects feedback, makes new
// models and paints videos.
export const listModels = () => readJson("/models");

const asJson = (value, signal) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value), signal });

export const predict = (model, values, signal) => readJson(`/predict/${encodeURIComponent(model)}`, asJson(values, signal));

// A picture's file, from a model that makes pictures: { blob, version }. Without a `type`, such as image/png,
// it has the format of the picture among the values, which is a Blob and is sent as it is.
export const predictPicture = async (model, values, { type = "*/*", signal } = {}) => {
  const body = new FormData();
  for (const [name, value] of Object.entries(values)) body.append(name, value instanceof Blob ? value : typeof value === "object" ? JSON.stringify(value) : String(value));
  const response = await ask(`/predict/${encodeURIComponent(model)}`, { method: "POST", headers: { accept: type }, body, signal });
  return { blob: await response.blob(), version: response.headers.get("x-modelpad-version") };
};

// Many items in one request: a prediction or an error for each.
export const predictList = async (model, items, signal) => (await predict(model, items, signal)).predictions;

// A response that is read while the server writes it.
export const openStream = (url, value, signal) => ask(url, asJson(value, signal));

export const sendFeedback = (model, record) => readJson(`/feedback/${encodeURIComponent(model)}`, asJson(record));

export const undoFeedback = (model, id, token) =>
  readJson(`/feedback/${encodeURIComponent(model)}/${id}`, { method: "DELETE", headers: { "x-modelpad-token": token } });

const sendJson = (url, record, headers = {}) =>
  readJson(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(record) });

// Collections of pictures, in classes.
export const createCollection = () => sendJson("/collections", {});
export const readCollection = (id) => readJson(`/collections/${id}`);
export const deleteCollection = (id) => readJson(`/collections/${id}`, { method: "DELETE" });
export const addPicture = async (id, name, blob) =>
  (await readJson(`/collections/${id}/pictures?class=${encodeURIComponent(name)}`, { method: "POST", headers: { "content-type": blob.type }, body: blob })).picture;
export const removePicture = (id, picture) => readJson(`/collections/${id}/pictures/${picture}`, { method: "DELETE" });
export const renameClass = (id, name, to) => sendJson(`/collections/${id}/rename`, { class: name, to });

// Jobs.
export const submitJob = (kind, params) => sendJson(`/jobs/${kind}`, params, { "idempotency-key": crypto.randomUUID?.() ?? String(Math.random()) });
export const listJobs = async () => (await readJson("/jobs")).jobs;
export const cancelJob = (id) => readJson(`/jobs/${id}`, { method: "DELETE" });

// Sends a video in parts, as proxies limit the size of a request; gives its id.
const PART_BYTES = 8 << 20;
export const sendVideo = async (file, progress, signal) => {
  const send = (url, from) => readJson(url, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: file.slice(from, from + PART_BYTES), signal });
  const { id } = await send("/videos", 0);
  for (let from = PART_BYTES; from < file.size; from += PART_BYTES) {
    progress(from / file.size);
    await send(`/videos/${id}?offset=${from}`, from);
  }
  progress(1);
  return id;
};
export const fetchResult = async (id) => (await ask(`/jobs/${id}/result`)).blob();

const RETRY_MS = 1000;

// Calls `take(event, data)` for each event of a job until it has ended; connects again when that breaks.
export const followJob = async (id, take, signal) => {
  let last = "", ended = false;
  const receive = (block) => {
    const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
    if (!fields.data) return;
    last = fields.id ?? last;
    const data = JSON.parse(fields.data);
    if (fields.event === "job") ended = !["queued", "running"].includes(data.state);
    take(fields.event, data);
  };
  while (!ended && !signal.aborted) {
    try {
      const response = await ask(`/jobs/${id}/events`, { headers: last ? { "last-event-id": last } : {}, signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach(receive);
      }
    } catch (error) {
      if (signal.aborted || error.needsKey || error.status === 404) throw error;
    }
    if (!ended) await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
};

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

const loadPicture = async (image, url) => {
  try {
    const blob = await readFile(url);
    image.src = PIXELS.has(blob.type) ? URL.createObjectURL(blob) : await readAsDataUrl(blob);
  } catch {
    image.classList.add("missing");
  }
};

const urls = new WeakMap(); // of images that wait
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    loadPicture(target, urls.get(target));
  }
}, { rootMargin: "800px" });

// Shows a file from this server in an <img>, which cannot send an API key itself, once it is near the window.
export const showPicture = (image, url) => {
  urls.set(image, url);
  near.unobserve(image);
  near.observe(image);
};
