// The inputs of a table's row: numbers with their unit, and choices.

import { make } from "./dom.js";

const DELAY_MS = 250;
let count = 0; // names of columns may contain anything, so ids are numbers

const range = ({ minimum, maximum }) =>
  minimum != null && maximum != null ? `${minimum} to ${maximum}` : minimum != null ? `at least ${minimum}` : maximum != null ? `at most ${maximum}` : "";

const cell = (field, control, more = []) => {
  const problem = make("small", { class: "problem", id: `${control.id}-problem` });
  control.setAttribute("aria-describedby", problem.id);
  const element = make("div", { class: "cell" },
    make("label", { for: control.id }, make("span", {}, field.name), " ", field.unit ? make("span", { class: "unit" }, field.unit) : null), control, more, problem);
  const check = () => {
    problem.textContent = control.validationMessage;
    control.setAttribute("aria-invalid", String(!control.validity.valid));
    return control.validity.valid;
  };
  return { element, check };
};

const later = (check, onChange) => {
  let timer = 0;
  return () => { check(); clearTimeout(timer); timer = setTimeout(() => onChange(), DELAY_MS); };
};

export const numberInput = (field, onChange) => {
  const whole = field.whole && Number.isInteger(field.minimum ?? 0);
  const input = make("input", { type: "number", id: `cell-${count++}`, step: whole ? 1 : "any", min: field.minimum, max: field.maximum, value: field.default ?? "",
    placeholder: [range(field), field.nullable ? "may be empty" : ""].filter(Boolean).join("; "), autocomplete: "off" });
  const { element, check } = cell(field, input);
  input.addEventListener("input", later(check, onChange));
  return {
    element,
    read: () => {
      if (!input.validity.valid) return undefined;
      if (input.value === "") return field.nullable ? null : undefined;
      // A whole number that JavaScript would round is sent as text, which the server reads too.
      return field.whole && !Number.isSafeInteger(input.valueAsNumber) ? input.value : input.valueAsNumber;
    },
    show: (sample) => { input.value = sample ?? field.default ?? ""; check(); onChange(); },
  };
};

// A list of the choices; free text where categories that the model has not seen are allowed.
export const choiceInput = (field, onChange) => (field.allow_other ? openChoice : closedChoice)(field, onChange);

const closedChoice = (field, onChange) => {
  const first = field.kind === "blend" ? field.choices[0] : undefined; // its default
  const select = make("select", { id: `cell-${count++}` }, first === undefined ? make("option", { value: "" }, "Choose …") : null,
    field.choices.map((choice, index) => make("option", { value: index }, choice === "" ? "(empty)" : String(choice))));
  const { element } = cell(field, select);
  select.addEventListener("change", () => onChange());
  return {
    element,
    read: () => (select.value === "" ? undefined : field.choices[Number(select.value)]),
    show: (sample) => { const index = field.choices.indexOf(sample ?? first); select.value = index < 0 ? "" : String(index); onChange(); },
  };
};

const openChoice = (field, onChange) => {
  const id = `cell-${count++}`;
  const numeric = typeof field.choices[0] === "number";
  const list = make("datalist", { id: `${id}-list` }, field.choices.map((choice) => make("option", { value: choice })));
  const input = make("input", { id, list: list.id, type: numeric ? "number" : "text", step: numeric ? 1 : null, placeholder: "Choose or type …", autocomplete: "off" });
  const { element, check } = cell(field, input, [list]);
  input.addEventListener("input", later(check, onChange));
  return {
    element,
    read: () => (input.value === "" || !input.validity.valid ? undefined : input.value),
    show: (sample) => { input.value = sample ?? ""; check(); onChange(); },
  };
};
