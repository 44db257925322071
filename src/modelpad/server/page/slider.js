// A number between two bounds, as a slider. Calls onChange(true) while it is moved, and onChange(false)
// when it was let go.

import { make } from "./dom.js";

const STEPS = 100;
let count = 0; // names may contain anything, so ids are numbers

export const inWords = (name) => name.replaceAll("_", " ");

export const sliderInput = (field, onChange) => {
  const { minimum, maximum, whole } = field;
  const isShare = minimum === 0 && maximum === 1 && !whole;
  const range = make("input", { type: "range", id: `slider-${count++}`, min: minimum, max: maximum, step: whole ? 1 : (maximum - minimum) / STEPS, value: field.default ?? minimum });
  const shown = make("output", { for: range.id });
  const write = () => {
    const words = isShare ? `${Math.round(100 * range.value)} %` : `${Number(range.valueAsNumber.toPrecision(4))} ${field.unit}`.trim();
    shown.textContent = words;
    range.setAttribute("aria-valuetext", words);
  };
  range.addEventListener("input", () => { write(); onChange(true); });
  range.addEventListener("change", () => onChange(false));
  write();
  return {
    element: make("div", { class: "setting" }, make("label", { for: range.id }, inWords(field.name)), shown, range),
    read: () => range.valueAsNumber,
    show: (value) => { range.value = value ?? field.default ?? minimum; write(); onChange(false); },
  };
};
