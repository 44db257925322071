// A choice of one thing, such as a style, by its picture, or a mixture with a weight for each.

import { fileUrl, showPicture } from "./api.js";
import { make } from "./dom.js";
import { inWords } from "./slider.js";

const STEP = 0.05;
let count = 0; // of groups

// The value of what was chosen is its name, that of a mixture the weights above 0 by name.
export const stylePicker = (model, field, onChange) => {
  const { name, choices, pictures = [] } = field;
  const group = `styles-${count++}`;
  let isMixed = false, last = choices[0];

  const tiles = choices.map((choice, index) => {
    const radio = make("input", { type: "radio", class: "sr", name: group, checked: index === 0, onchange: () => choose() });
    const weight = make("input", { type: "range", class: "weight", min: 0, max: 1, step: STEP, value: 0, hidden: true, "aria-label": `Weight of ${inWords(choice)}`,
      oninput: () => mix(true), onchange: () => mix(false) });
    const image = pictures[index] ? make("img", { alt: "", width: 96, height: 96 }) : make("span", { class: "letter", "aria-hidden": "true" }, choice.slice(0, 1).toUpperCase());
    if (pictures[index]) showPicture(image, fileUrl(model.name, pictures[index]) ?? "");
    const element = make("div", { class: "style-tile" }, make("label", { title: inWords(choice) }, radio, image, make("span", { class: "style-name" }, inWords(choice))), weight);
    return { choice, element, radio, weight };
  });
  const weights = () => Object.fromEntries(tiles.filter(({ weight }) => weight.valueAsNumber > 0).map(({ choice, weight }) => [choice, weight.valueAsNumber]));
  const keep = (value) => {
    const names = Object.keys(value);
    last = typeof value === "object" && names.length === 1 ? names[0] : value;
    picked.textContent = describeStyle(value);
  };
  const choose = () => { keep(tiles.find(({ radio }) => radio.checked).choice); onChange(false); };
  // With all weights at 0, the mixture stays as it was.
  const mix = (isLive) => {
    if (Object.keys(weights()).length) keep(weights());
    onChange(isLive);
  };
  const setMixed = (mixed) => {
    isMixed = mixed;
    button.setAttribute("aria-pressed", String(mixed));
    for (const { radio, weight } of tiles) {
      radio.disabled = mixed;
      weight.hidden = !mixed;
    }
  };
  const set = (value) => {
    const given = typeof value === "string" && choices.includes(value) ? value : value && typeof value === "object" ? value : choices[0];
    setMixed(typeof given === "object");
    for (const { choice, radio, weight } of tiles) {
      radio.checked = choice === given;
      weight.value = isMixed ? given[choice] ?? 0 : Number(choice === given);
    }
    keep(given);
  };
  // What was chosen begins the mixture; of a mixture, the strongest stays.
  const toggle = () => {
    const strongest = tiles.reduce((best, each) => (each.weight.valueAsNumber > best.weight.valueAsNumber ? each : best));
    set(isMixed ? strongest.choice : { [last]: 1 });
    onChange(false);
  };
  const button = make("button", { type: "button", class: "mix", "aria-pressed": "false", onclick: toggle }, "Mix");
  const picked = make("span", { class: "picked" });
  set(choices[0]);
  return {
    element: make("div", { class: "styles", role: "group", "aria-labelledby": group },
      make("p", { class: "styles-title" }, make("strong", { id: group }, inWords(name)), " ", picked),
      make("div", { class: "style-strip" }, tiles.map(({ element }) => element)), choices.length > 1 ? button : null),
    read: () => last,
    show: (value) => { set(value); onChange(false); },
  };
};

// A value of a picker in words.
export const describeStyle = (value) =>
  typeof value === "string" ? inWords(value) : Object.entries(value).sort(([, one], [, other]) => other - one).map(([name]) => inWords(name)).join(" + ");
