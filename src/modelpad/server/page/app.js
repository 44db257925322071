// The page: shows one model at a time, with widgets generated from its signature.

import { listModels, predict, readFile, showPicture } from "./api.js";
import { cardView, warningsView } from "./card.js";
import { csvPanel, takesCsv } from "./csv-panel.js";
import { make } from "./dom.js";
import { feedbackPanel } from "./feedback.js";
import { heatSwitch } from "./heatmap.js";
import { inputWidget } from "./inputs.js";
import { currentKey, forgetKey, onKeyChange } from "./key.js";
import { blankBars, describeAnswer, showAnswer } from "./outputs.js";
import { snippets } from "./snippets.js";
import { showStudio } from "./studio.js";
import { wordMarks } from "./word-marks.js";
import { writerPanels } from "./writer.js";

const main = document.querySelector("#main");
const nav = document.querySelector("#models");

const showError = (error, retry) =>
  make("div", { class: error.needsKey ? "error notice" : "error", role: "alert" }, error.message, error.hint ? make("small", {}, error.hint) : null,
    error.needsKey ? make("button", { type: "button", onclick: retry }, "Enter a key") : null);

// A short label for a sample: the text itself, rounded numbers, or a row's values.
const inShort = (value) => {
  const words = typeof value === "string" ? value : value === null ? "–" : JSON.stringify(value, (_, one) => (typeof one === "number" ? Number(one.toPrecision(4)) : one)).replaceAll(",", ", ");
  return words.length > 40 ? `${words.slice(0, 39)}…` : words;
};

const describeRow = (fields, inputs) =>
  fields.length > 1 ? fields.map(({ name }) => inShort(inputs[name]?.value ?? null)).join(", ") : null;

const isTable = (model) => model.inputs.every(({ kind }) => kind === "number" || kind === "choice");

const byline = ({ author, licence }) => {
  const words = [author ? `By ${author}` : null, licence ? `Licence: ${licence}` : null].filter(Boolean);
  return words.length ? make("p", { class: "byline" }, words.join(" · ")) : null;
};

const sampleButton = (fields, sample, widgets, report) => {
  const [name, value] = Object.entries(sample.inputs)[0] ?? ["example", {}];
  const title = `Try an example${sample.expected != null ? `: ${sample.expected}` : ""}`;
  const show = async () => {
    try {
      for (const [key, { url, value: plain }] of Object.entries(sample.inputs)) await widgets[key]?.show(url ? await readFile(url) : plain);
    } catch (error) { report(error, show); }
  };
  if (!value.url) return make("button", { type: "button", class: "words", title, onclick: show }, inShort(sample.title ?? describeRow(fields, sample.inputs) ?? value.value ?? "") || name);
  const image = make("img", { alt: "" });
  showPicture(image, value.url);
  return make("button", { type: "button", title, "aria-label": title, onclick: show }, image);
};

// An invalid card must not keep the model from being shown.
const safeCard = (model) => {
  try { return cardView(model); } catch { return make("p", { class: "hint" }, "The model card cannot be shown."); }
};

// A row of a table is shown with its prediction from the start.
const fillIn = (sample, widgets) => {
  for (const [name, { value }] of Object.entries(sample.inputs)) widgets[name]?.show(value);
};

const intro = (model) =>
  make("div", { class: "intro" }, make("h1", {}, model.title || model.name), warningsView(model), model.summary ? make("p", {}, model.summary) : null, byline(model),
    model.backend === "native" ? make("p", { class: "hint" }, `Runs in ${model.runs_in}.`) : null);

const showWriter = (model) => {
  const { input, output, stop } = writerPanels(model, showError);
  main.replaceChildren(
    intro(model),
    make("div", { class: "try writing" },
      make("section", { class: "panel", "aria-label": "Input" }, input),
      make("section", { class: "panel answer", "aria-label": "Text" }, make("h2", {}, "Text"), output)),
    snippets(model), safeCard(model) ?? "");
  return stop;
};

const showPrediction = (model, takesFeedback) => {
  const status = make("p", { class: "sr", role: "status", "aria-live": "polite" });
  const result = make("div", { id: "answer" }, blankBars(model.outputs[0]));
  const widgets = Object.create(null);
  const report = (error, retry) => result.replaceChildren(showError(error, retry));
  let running = null;
  const explain = (answer) => {
    const [over] = model.outputs.flatMap(({ heatmap }) => (heatmap ? [heatmap.over] : []));
    if (!over || !answer.heatmap) return "";
    widgets[over]?.explain?.(answer.heatmap);
    return heatSwitch();
  };
  const ask = async () => {
    running?.abort();
    const values = Object.fromEntries(Object.entries(widgets).map(([name, widget]) => [name, widget.read()]));
    if (Object.values(values).some((value) => value === undefined)) {
      status.textContent = "";
      return result.replaceChildren(blankBars(model.outputs[0]));
    }
    const mine = running = new AbortController();
    const start = performance.now();
    try {
      const answer = await predict(model.name, values, mine.signal);
      const took = `${answer.model}, version ${answer.version}, responded in ${Math.round(performance.now() - start)} ms.`;
      const announce = (words) => { status.textContent = words; };
      result.replaceChildren(...showAnswer(answer), make("p", { class: "took" }, took), explain(answer),
        wordMarks(model, values, answer, showError) ?? "", (takesFeedback && feedbackPanel(model, values, answer, announce, showError)) || "");
      status.textContent = describeAnswer(answer);
    } catch (error) {
      if (error.name !== "AbortError") report(error, ask);
    }
  };
  for (const field of model.inputs) widgets[field.name] = inputWidget(field, ask);
  const elements = Object.values(widgets).map(({ element }) => element);
  const inputs = isTable(model) ? make("div", { class: "cells", role: "group", "aria-label": "Columns" }, elements) : elements;
  main.replaceChildren(
    intro(model),
    make("div", { class: isTable(model) ? "try table" : "try" },
      make("section", { class: "panel", "aria-label": "Input" }, inputs,
        model.samples.length ? make("div", { class: "samples", role: "group", "aria-label": "Examples" }, model.samples.map((sample) => sampleButton(model.inputs, sample, widgets, report))) : null),
      make("section", { class: "panel answer", "aria-label": "Prediction" }, make("h2", {}, "Prediction"), result, status)),
    takesCsv(model) ? csvPanel(model, showError) : "", snippets(model), safeCard(model) ?? "");
  if (isTable(model) && model.samples.length) fillIn(model.samples[0], widgets);
};

// Returns what stops the model's work, if it has any.
const showModel = (model, takesFeedback) => {
  document.title = `${model.title || model.name} · modelpad`;
  if (model.task === "text-generation") return showWriter(model);
  return showPrediction(model, takesFeedback);
};

const chooseTheme = (theme) => { document.documentElement.dataset.theme = theme; };
const dark = matchMedia("(prefers-color-scheme: dark)");
let kept = null;
try { kept = localStorage.getItem("theme"); } catch { /* storage is blocked */ }
chooseTheme(kept ?? (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => { if (!kept) chooseTheme(dark.matches ? "dark" : "light"); });
document.querySelector("#theme").addEventListener("click", () => {
  kept = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  chooseTheme(kept);
  try { localStorage.setItem("theme", kept); } catch { /* the choice lasts until the page is closed */ }
});

const forget = document.querySelector("#forget");
forget.addEventListener("click", () => { forgetKey(); location.reload(); });
onKeyChange(() => { forget.hidden = !currentKey(); });

const STUDIO = "#/new"; // no model has a slash in its name

const start = async () => {
  let served = await listModels();
  let leave = null; // stops what the view before this one does
  const link = (href, words, current) => make("a", { href, "aria-current": current ? "page" : null }, words);
  const route = () => {
    leave?.();
    leave = null;
    const { models, feedback, studio } = served;
    const makes = studio && location.hash === STUDIO;
    const wanted = decodeURIComponent(location.hash.slice(1));
    const model = models.find(({ name }) => name === wanted) ?? models[0];
    nav.replaceChildren(
      ...(models.length > 1 || studio ? models.map(({ name }) => link(`#${encodeURIComponent(name)}`, name, !makes && name === model.name)) : []),
      ...(studio ? [link(STUDIO, "New model", makes)] : []));
    leave = makes ? showStudio(main, { showError, findModel }) : showModel(model, feedback);
  };
  // A model that has just been trained, once it is served.
  const findModel = async (name, version) => {
    served = await listModels();
    return served.models.find((model) => model.name === name && model.version >= version);
  };
  addEventListener("hashchange", route);
  route();
};
const open = () => start().catch((error) => main.replaceChildren(showError(error, open)));
open();
