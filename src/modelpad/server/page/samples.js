// Examples that the author of a model gave it: buttons that put them in.

import { readFile, showPicture } from "./api.js";
import { make } from "./dom.js";

const LONGEST = 40;

// A short label for a sample: the text itself, rounded numbers, or a row's values.
export const inShort = (value, longest = LONGEST) => {
  const words = typeof value === "string" ? value : value === null ? "–" : JSON.stringify(value, (_, one) => (typeof one === "number" ? Number(one.toPrecision(4)) : one)).replaceAll(",", ", ");
  return words.length > longest ? `${words.slice(0, longest - 1)}…` : words;
};

const describeRow = (fields, inputs) =>
  fields.length > 1 ? fields.map(({ name }) => inShort(inputs[name]?.value ?? null)).join(", ") : null;

const sampleButton = (fields, sample, show) => {
  const [name, value] = Object.entries(sample.inputs)[0] ?? ["example", {}];
  const title = `Try an example${sample.expected != null ? `: ${sample.expected}` : ""}`;
  const onclick = () => show(sample);
  const isHeard = fields.find((field) => field.name === name)?.kind === "audio";
  if (isHeard) return make("button", { type: "button", class: "words", title, onclick }, inShort(sample.title ?? sample.expected ?? "A sound"));
  if (!value.url) return make("button", { type: "button", class: "words", title, onclick }, inShort(sample.title ?? describeRow(fields, sample.inputs) ?? value.value ?? "") || name);
  const image = make("img", { alt: "" });
  showPicture(image, value.url);
  return make("button", { type: "button", title, "aria-label": title, onclick }, image);
};

// The row of examples, null for a model without any. `show(sample)` puts one in.
export const sampleRow = (model, show) => {
  if (!model.samples.length) return null;
  const isDrawn = model.inputs[0]?.kind === "sketch"; // light on black, but the pad is dark on white
  return make("div", { class: isDrawn ? "samples drawn" : "samples", role: "group", "aria-label": "Examples" },
    model.samples.map((sample) => sampleButton(model.inputs, sample, show)));
};

export const fillWidgets = async (widgets, sample) => {
  for (const [name, { url, value }] of Object.entries(sample.inputs)) await widgets[name]?.show(url ? await readFile(url) : value);
};
