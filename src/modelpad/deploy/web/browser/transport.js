// The page's transport without a server: it answers the same requests from the model in the page.

import { load } from "../web/model.js";
import { ApiError } from "./api-error.js";

const TYPES = { gif: "image/gif", jpeg: "image/jpeg", jpg: "image/jpeg", png: "image/png", webp: "image/webp" };

const opening = load();
opening.catch(() => {}); // reported by the page's first request

const respond = (value) => new Response(JSON.stringify(value));

const predict = async ({ description, predict: run }, options) => {
  const outputs = await run(JSON.parse(options.body));
  options.signal?.throwIfAborted();
  const [only, ...others] = Object.values(outputs);
  return respond({ model: description.name, version: description.version, ...(others.length || !only?.scores ? { outputs } : only) });
};

export const ask = async (url, options = {}) => {
  const path = decodeURIComponent(url);
  try {
    const model = await opening, { name } = model.description;
    if (path === "/models") return respond({ models: [model.description], feedback: false, studio: false });
    if (path === `/predict/${name}`) return await predict(model, options);
    const file = path.startsWith(`/models/${name}/files/`) ? path.slice(`/models/${name}/files/`.length) : null;
    if (file) return new Response(new Blob([await model.read(`model/${file}`)], { type: TYPES[file.split(".").at(-1)] ?? "" }));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(error.message, error.hint ?? "");
  }
  throw new ApiError(`This page has nothing at ${path}.`, "It was exported without a server.");
};
