// The form that tries an operation, with the code that sends the same request.

import { readAsDataUrl, readFile } from "./api.js";
import { inputFile, isLong, writeCode } from "./code.js";
import { codeTabs } from "./code-tabs.js";
import { exampleOf } from "./docs-schema.js";
import { responseView } from "./docs-send.js";
import { make } from "./dom.js";
import { currentKey } from "./key.js";

const MAX_VALUE = 2000; // characters of a value in the box; a longer one has a word in its place
const WORDS = /^(application\/json|text\/)/; // bodies that a person can type

// Values that are too long to be read have a word in their place, which is replaced when the request is sent.
const hideLong = (value, hidden, name = "value") => {
  if (typeof value === "string" && value.length > MAX_VALUE) {
    const word = `‹${name}: ${Math.ceil(value.length / 1000)} kB›`;
    hidden.set(word, value);
    return word;
  }
  if (Array.isArray(value)) return value.map((each) => hideLong(each, hidden, name));
  return value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, hideLong(each, hidden, key)])) : value;
};
const restoreLong = (text, hidden) => [...hidden].reduce((whole, [word, value]) => whole.replaceAll(JSON.stringify(word), () => JSON.stringify(value)), text);

// A list of numbers stays in one line.
const write = (value) => {
  if (typeof value === "string") return value;
  const text = JSON.stringify(value, null, 2);
  return text.replaceAll(/\[[\s\d.,eE+-]*\]/g, (list) => list.replaceAll(/\s+/g, " ").replaceAll(/\[ | \]/g, (end) => end.trim()));
};

const sampleValues = async ({ samples }) => {
  const entries = Object.entries(samples[0]?.inputs ?? {}).map(async ([name, { url, value }]) => [name, url ? await readAsDataUrl(await readFile(url)) : value]);
  return entries.length ? Object.fromEntries(await Promise.all(entries)) : null;
};

// What a body is filled with first: the input that is on the page, a sample, an example of the description.
const firstBody = async (path, content, { models, present, named }) => {
  const { example, schema } = content;
  const model = models.find(({ name }) => path === `/predict/${encodeURIComponent(name)}` || path === `/predict/${name}`) ?? (/^\/(predict|invocations)$/.test(path) ? models[0] : null);
  if (model) {
    if (present?.model === model.name) return { value: present.values, from: "This is the input that is on the page." };
    const value = await sampleValues(model).catch(() => null);
    if (value) return { value, from: "This is an example of the model. Try one on the page, and it will be here." };
  }
  if (example !== undefined) return { value: example, from: "" };
  const writer = models.find(({ task }) => task === "text-generation");
  const text = Object.values(present?.values ?? {}).find((each) => typeof each === "string" && !each.startsWith("data:")) ?? "Once upon a time";
  const known = { model: writer?.name ?? models[0]?.name, prompt: text, input: text, content: text, role: "user" };
  const value = exampleOf(schema, named, known);
  return { value: "prompt" in (value ?? {}) ? { ...value, max_tokens: 50 } : value, from: "" };
};

const parameterField = (id, { name, in: place, required, schema = {}, description, example }) => {
  const key = `${id}-${place}-${name}`;
  const choices = schema.enum && (required ? schema.enum : ["", ...schema.enum]);
  const input = choices
    ? make("select", { id: key }, choices.map((each) => make("option", { selected: each === example }, each)))
    : make("input", { id: key, type: "text", value: example ?? "", placeholder: schema.default ?? "", spellcheck: "false", autocomplete: "off" });
  return { place, name, input, element: make("div", { class: "cell" }, make("label", { for: key }, make("span", {}, name, required ? " *" : ""), make("span", { class: "unit" }, place)), input, description ? make("small", {}, description) : null) };
};

// `about` has the models, the present input and the named schemas.
export const tryForm = (id, method, path, operation, about) => {
  const fields = (operation.parameters ?? []).map((each) => parameterField(id, each));
  const contents = Object.entries(operation.requestBody?.content ?? {}).filter(([type]) => WORDS.test(type));
  const hidden = new Map();
  const answers = Object.keys(Object.entries(operation.responses).find(([status]) => status.startsWith("2"))?.[1].content ?? {})[0] ?? "";
  const [type, content] = contents[0] ?? ["", null];
  const box = content ? make("textarea", { id: `${id}-body`, class: "code", spellcheck: "false", rows: 7 }) : null;
  const note = make("p", { class: "hint" });
  const given = (place) => fields.filter((each) => each.place === place && each.input.value);

  const request = () => {
    const filled = given("path").reduce((whole, { name, input }) => whole.replace(`{${name}}`, encodeURIComponent(input.value)), path);
    const query = new URLSearchParams(given("query").map(({ name, input }) => [name, input.value])).toString();
    const headers = Object.fromEntries(given("header").map(({ name, input }) => [name, input.value]));
    return { method: method.toUpperCase(), url: `${location.origin}${filled}${query ? `?${query}` : ""}`, headers, type, body: box ? restoreLong(box.value, hidden) : null, answers };
  };
  const response = responseView();
  const code = codeTabs(`${id}-code`, writeCode(request(), Boolean(currentKey())));
  const save = make("a", { class: "button save", hidden: true }, "Save the body as a file");
  const update = () => {
    const now = request();
    code.show(writeCode(now, Boolean(currentKey())));
    URL.revokeObjectURL(save.href);
    save.hidden = !(now.body !== null && isLong(now));
    if (save.hidden) return;
    save.download = inputFile(now);
    save.href = URL.createObjectURL(new Blob([now.body], { type }));
  };
  const send = make("button", { class: "main" }, "Send");
  const stop = make("button", { type: "button", onclick: response.stop, disabled: true }, "Stop");
  const form = make("form", { class: "try-it", oninput: update },
    fields.length ? make("div", { class: "cells" }, fields.map(({ element }) => element)) : null,
    box ? [make("label", { for: box.id }, `Body, ${type}`), box, note] : null,
    make("div", { class: "tools" }, send, stop, save));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = !(stop.disabled = false);
    await response.run(request());
    send.disabled = !(stop.disabled = true);
  });
  const fill = async () => {
    if (content) {
      const { value, from } = await firstBody(path, content, about);
      box.value = write(type.includes("json") ? hideLong(value, hidden) : typeof value === "string" ? value : "");
      const pictures = Object.entries(value ?? {}).filter(([, each]) => typeof each === "string" && each.startsWith("data:image/"));
      note.replaceChildren(from, ...pictures.map(([name, src]) => make("img", { class: "seen-input", src, alt: `The ${name} that is sent` })));
    }
    update();
  };
  fill();
  return make("div", {}, form, response.element, make("h3", {}, "Code"), code.element);
};
