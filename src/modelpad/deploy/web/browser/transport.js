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

// A single label is flat.
const flatten = (outputs) => {
  const [only, ...others] = Object.values(outputs);
  return others.length || !only?.scores ? { outputs } : only;
};

// A prediction or an error for each of many items.
const predictAll = async (items, run, signal) => {
  const predictions = [];
  for (const item of items) {
    signal?.throwIfAborted();
    predictions.push(await run(item).then(flatten, ({ message, hint = "" }) => ({ error: { message, hint } })));
  }
  return predictions;
};

const predict = async ({ description: { name, version, outputs: fields }, predict: run }, { body, headers, signal }) => {
  const isForm = body instanceof FormData, values = isForm ? Object.fromEntries(body) : JSON.parse(body);
  if (Array.isArray(values)) return respond({ model: name, version, predictions: await predictAll(values, run, signal) });
  const outputs = await run(values);
  signal?.throwIfAborted();
  if (isForm && fields.length === 1 && fields[0].kind === "image") return respondPicture(outputs[fields[0].name], headers.accept, Object.values(values).find((value) => value instanceof Blob), version);
  return respond({ model: name, version, ...flatten(outputs) });
};

// A text's pieces as server-sent events, as they are written. Only the settings of the page are taken.
const complete = ({ write }, { body, signal }) => {
  const { prompt, max_tokens, temperature, n } = JSON.parse(body), utf8 = new TextEncoder();
  async function* list() {
    let written = 0;
    for await (const { index, text, logprob, finish } of write(prompt, { max_tokens, temperature, n }, signal)) {
      written++;
      yield { choices: [{ index, text, logprobs: { tokens: [text], token_logprobs: [logprob] }, finish_reason: finish }] };
    }
    yield { choices: [], usage: { completion_tokens: written } };
  }
  const events = list();
  return new Response(new ReadableStream({
    pull: async (stream) => {
      const { value, done } = await events.next();
      stream.enqueue(utf8.encode(`data: ${done ? "[DONE]" : JSON.stringify(value)}\n\n`));
      if (done) stream.close();
    },
    cancel: () => events.return(),
  }));
};

export const ask = async (url, options = {}) => {
  const path = decodeURIComponent(url);
  try {
    const model = await opening, { name } = model.description;
    if (path === "/models") return respond({ models: [model.description], feedback: false, studio: false });
    if (path === `/predict/${name}`) return await predict(model, options);
    if (path === "/v1/completions" && model.write) return complete(model, options);
    const file = path.startsWith(`/models/${name}/files/`) ? path.slice(`/models/${name}/files/`.length) : null;
    if (file) return new Response(new Blob([await model.read(`model/${file}`)], { type: TYPES[file.split(".").at(-1)] ?? "" }));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(error.message, error.hint ?? "");
  }
  throw new ApiError(`This page has nothing at ${path}.`, "It was exported without a server.");
};
