// Shows each kind of output.

import { make, percent, svg } from "./dom.js";

const MAX_BARS = 10;
const UNSURE = "Not sure: this does not look like any of the classes.";

const bar = (share) =>
  svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 14, rx: 3 }),
    svg("rect", { class: "fill", width: Math.max(100 * share, 0.4), height: 14, rx: 3 }));

// What was recognised: one class, or the labels that a model with several of them found.
const verdictOf = (answer) => (answer.labels ? answer.labels.join(", ") || "none of the labels" : answer.label);

export const labelBars = (answer) => {
  const rows = Object.entries(answer.scores).slice(0, MAX_BARS);
  const verdict = verdictOf(answer);
  const isFound = (name) => (answer.labels ? answer.labels.includes(name) : name === answer.label);
  return [
    answer.unknown ? make("p", { class: "unsure" }, UNSURE) : null,
    make("p", { class: `verdict${verdict.length > 3 ? " long" : ""}${answer.unknown ? " doubtful" : ""}` },
      make("strong", { id: "label" }, verdict), answer.labels ? null : make("span", { id: "confidence" }, percent(answer.confidence))),
    make("ol", { class: "bars", "aria-label": "Confidence by class" }, rows.map(([name, share]) =>
      make("li", isFound(name) ? { class: "top" } : {},
        make("span", { class: "name", title: name }, name),
        bar(share),
        make("span", { class: "share" }, percent(share))))),
  ].filter(Boolean);
};

// A single number, with a bar if it is between 0 and 1.
const scoreMeter = (name, value) => [
  make("p", { class: "verdict long" }, make("strong", { id: "score" }, String(Number(value.toPrecision(5)))), make("span", {}, name)),
  ...(value >= 0 && value <= 1 ? [make("div", { class: "meter" }, bar(value))] : []),
];

// A short list of numbers as a table, anything else as JSON.
const numbers = (value) =>
  Array.isArray(value) && value.length <= 64 && value.every((one) => typeof one === "number")
    ? make("ol", { class: "values", start: 0 }, value.map((one) => make("li", {}, String(Number(one.toPrecision(5))))))
    : make("pre", {}, JSON.stringify(value));

export const anyOutput = (name, value) => {
  const title = make("h3", {}, name);
  if (value?.scores) return [title, ...labelBars(value)];
  if (typeof value === "string" && value.startsWith("data:image/")) return [title, make("img", { class: "picture", src: value, alt: name })];
  if (typeof value === "number") return scoreMeter(name, value);
  return [title, typeof value === "string" ? make("pre", {}, value) : numbers(value)];
};

export const showAnswer = (answer) =>
  answer.scores ? labelBars(answer) : Object.entries(answer.outputs).flatMap(([name, value]) => anyOutput(name, value));

export const describeAnswer = (answer) =>
  answer.unknown ? `${UNSURE} The nearest is ${answer.label}.` : answer.labels ? `Found: ${verdictOf(answer)}.` : answer.scores ? `Recognised as ${answer.label}, ${percent(answer.confidence, 0)} sure.` : "The prediction is ready.";

export const blankBars = (field) =>
  make("div", { class: "waiting" },
    make("p", { class: "verdict" }, make("strong", { "aria-hidden": "true" }, "?"), make("span", {}, "waiting for input")),
    field?.classes ? make("p", { class: "hint" }, `Classes: ${field.classes.slice(0, 20).join(", ")}${field.classes.length > 20 ? ", …" : ""}`) : null);
