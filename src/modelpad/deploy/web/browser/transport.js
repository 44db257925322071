// The page's transport without a server: it answers the same requests from the model in the page.

import { load } from "../web/model.js";
import { toBlob } from "../web/picture.js";
import { ApiError } from "./api-error.js";

const TYPES = { gif: "image/gif", jpeg: "image/jpeg", jpg: "image/jpeg", png: "image/png", webp: "image/webp" };

const opening = load();
opening.catch(() => {}); // reported by the page's first request

const respond = (value) => new Response(JSON.stringify(value));

// A picture's file, in the format asked for, or that of the picture sent.
const respondPicture = async (url, asked, sent, version) => {
  const png = toBlob(url), type = asked === "*/*" ? sent?.type : asked, headers = { "x-modelpad-version": version };
  if (type !== TYPES.jpeg && type !== TYPES.webp) return new Response(png, { headers });
  const bitmap = await createImageBitmap(png), sheet = new OffscreenCanvas(bitmap.width, bitmap.height);
  sheet.getContext("2d").drawImage(bitmap, 0, 0);
  return new Response(await sheet.convertToBlob({ type, quality: 0.9 }), { headers });
};

const predict = async ({ description, predict: run }, options) => {
  const { body } = options, isForm = body instanceof FormData;
  const values = isForm ? Object.fromEntries(body) : JSON.parse(body);
  const outputs = await run(values);
  options.signal?.throwIfAborted();
  const [only, ...others] = Object.values(outputs);
  if (isForm && !others.length && description.outputs[0].kind === "image") return respondPicture(only, options.headers.accept, Object.values(values).find((value) => value instanceof Blob), description.version);
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
