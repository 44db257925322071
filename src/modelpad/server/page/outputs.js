// Shows each kind of output. A view is made once for a model and then only filled, so that nothing on
// the page moves when a prediction arrives, and bars grow from where they were.

import { make, percent, svg } from "./dom.js";

const MAX_BARS = 10;
const LONG = 3; // letters of a class name that is shown in a smaller size
const NONE = "–";
const UNSURE = "Not sure: this does not look like any of the classes.";
const WAITING = "waiting for input";

const bar = () => {
  const fill = svg("rect", { class: "fill", width: 0, height: 14, rx: 3 });
  const element = svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 14, rx: 3 }), fill);
  return { element, set: (share) => fill.setAttribute("width", share ? Math.max(100 * share, 0.4) : 0) };
};

// What was recognised: one class, or the labels that a model with several of them found.
const verdictOf = (answer) => (answer.labels ? answer.labels.join(", ") || "none of the labels" : answer.label);

const barRow = () => {
  const name = make("span", { class: "name" }), share = make("span", { class: "share" }), { element, set } = bar();
  const row = make("li", {}, name, element, share);
  const show = (title, value, isFound) => {
    name.textContent = name.title = title;
    share.replaceChildren(value === undefined ? NONE : percent(value)); // a new text has no place that it moves from
    set(value ?? 0);
    row.classList.toggle("top", isFound);
  };
  return { row, show };
};

// Up to MAX_BARS classes keep their places; of more, the likeliest are shown.
const labelView = (field) => {
  const keeps = field.classes.length <= MAX_BARS;
  const rows = Array.from({ length: Math.min(field.classes.length, MAX_BARS) }, barRow);
  const letters = field.multiple ? Infinity : Math.max(...field.classes.map((name) => name.length));
  const size = letters > LONG ? "long" : `letters-${letters}`;
  const label = make("strong"), side = make("span");
  const verdict = make("p", { class: `verdict ${size}${field.familiarity ? " doubts" : ""}` }, label, side);
  const bars = make("ol", { class: rows.length > MAX_BARS / 2 ? "bars many" : "bars", "aria-label": "Confidence by class" }, rows.map(({ row }) => row));
  const element = make("div", { class: "label-view" }, verdict, bars);
  const wait = () => {
    element.classList.add("waiting");
    verdict.classList.remove("doubtful");
    label.removeAttribute("id");
    label.setAttribute("aria-hidden", "true");
    label.textContent = "?";
    side.replaceChildren(WAITING);
    rows.forEach(({ show }, index) => show(keeps ? field.classes[index] : NONE, undefined, false));
  };
  const show = (answer) => {
    const isFound = (name) => (answer.labels ? answer.labels.includes(name) : name === answer.label);
    const ranked = Object.entries(answer.scores);
    element.classList.remove("waiting");
    verdict.classList.toggle("doubtful", Boolean(answer.unknown));
    label.id = "label";
    label.removeAttribute("aria-hidden");
    label.textContent = verdictOf(answer);
    side.replaceChildren(answer.unknown ? make("span", { class: "unsure" }, UNSURE) : answer.labels ? "" : make("span", { id: "confidence" }, percent(answer.confidence)));
    rows.forEach((each, index) => {
      const [name, share] = keeps ? [field.classes[index], answer.scores[field.classes[index]]] : ranked[index] ?? [NONE, undefined];
      each.show(name, share, isFound(name));
    });
  };
  return { element, wait, show };
};

// A single number, with a bar if it is between 0 and 1.
const scoreMeter = (name, value) => {
  const meter = bar();
  meter.set(value);
  return [
    make("p", { class: "verdict long" }, make("strong", { id: "score" }, String(Number(value.toPrecision(5)))), make("span", {}, name)),
    value >= 0 && value <= 1 ? make("div", { class: "meter" }, meter.element) : null,
  ];
};

// A short list of numbers as a table, anything else as JSON.
const numbers = (value) =>
  Array.isArray(value) && value.length <= 64 && value.every((one) => typeof one === "number")
    ? make("ol", { class: "values", start: 0 }, value.map((one) => make("li", {}, String(Number(one.toPrecision(5))))))
    : make("pre", { tabindex: 0, role: "region", "aria-label": "Value" }, JSON.stringify(value));

const isPicture = (value) => typeof value === "string" && value.startsWith("data:image/");

const contentOf = (name, value) => {
  if (isPicture(value)) return [make("h3", {}, name), make("div", { class: "easel" }, make("img", { class: "picture", src: value, alt: name }))];
  if (typeof value === "number") return scoreMeter(name, value);
  return [make("h3", {}, name), typeof value === "string" ? make("pre", {}, value) : numbers(value)];
};

const plainView = (field) => {
  const element = make("div", { class: "output" });
  const fill = (...children) => element.replaceChildren(...children.flat().filter(Boolean));
  const wait = () => {
    element.classList.add("waiting");
    if (field.kind === "image") fill(make("h3", {}, field.name), make("div", { class: "easel" }, WAITING));
    else fill(make("p", { class: "verdict long" }, make("strong", { "aria-hidden": "true" }, "?"), make("span", {}, WAITING)));
  };
  const show = (value) => {
    element.classList.remove("waiting");
    fill(contentOf(field.name, value));
  };
  return { element, wait, show };
};

// All outputs of a model: { element, wait(), show(answer) }.
export const answerView = (model) => {
  const views = model.outputs.map((field) => ({ field, ...(field.kind === "label" ? labelView(field) : plainView(field)) }));
  const isTitled = ({ field }) => field.kind === "label" && views.length > 1;
  const element = make("div", { class: "views" }, views.map((view) => [isTitled(view) ? make("h3", {}, view.field.name) : null, view.element]));
  const valueOf = (answer, name) => (answer.scores ? answer : answer.outputs[name]);
  const wait = () => views.forEach((view) => view.wait());
  const show = (answer) => views.forEach((view) => view.show(valueOf(answer, view.field.name)));
  wait();
  return { element, wait, show };
};

export const describeAnswer = (answer) =>
  answer.unknown ? `${UNSURE} The nearest is ${answer.label}.` : answer.labels ? `Found: ${verdictOf(answer)}.` : answer.scores ? `Recognised as ${answer.label}, ${percent(answer.confidence, 0)} sure.` : "The prediction is ready.";

// The prediction in a word or two.
export const nameAnswer = (answer) => {
  if (answer.scores) return verdictOf(answer);
  const [first] = Object.values(answer.outputs ?? {});
  return first?.scores ? verdictOf(first) : typeof first === "number" ? String(Number(first.toPrecision(5))) : "";
};
