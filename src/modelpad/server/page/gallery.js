// The home page of a server with several models, and the page of a name that it does not serve.

import { showPicture } from "./api.js";
import { make } from "./dom.js";

const GLYPHS = { text: "Aa", number: "▦", choice: "▦", image: "▣", sketch: "✎", tensor: "[ ]" };

export const pathOf = ({ name }) => `/m/${encodeURIComponent(name)}`;

const thumbnail = (model) => {
  const field = model.inputs[0];
  const url = model.samples.flatMap(({ inputs }) => Object.values(inputs)).find((value) => value.url)?.url;
  if (!url) return make("span", { class: "glyph", "aria-hidden": "true" }, model.task === "text-generation" ? "✎" : GLYPHS[field?.kind] ?? "◇");
  const image = make("img", { alt: "" });
  showPicture(image, url);
  return make("span", { class: field.kind === "sketch" ? "glyph drawn" : "glyph" }, image);
};

const card = (model) => make("li", {}, make("a", { class: "panel tile", href: pathOf(model) },
  thumbnail(model), make("span", { class: "tile-words" }, make("strong", {}, model.title || model.name), model.summary ? make("span", {}, model.summary) : null)));

export const galleryView = (models, problem = null) => [
  make("div", { class: "intro" }, make("h1", {}, problem ?? "Models"), make("p", {}, models.length ? "Choose one to try it." : "No model is served here yet.")),
  make("ul", { class: "tiles" }, models.map(card)),
];

// How many letters differ.
const distance = (one, other) => {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1];
    for (let index = 1; index <= other.length; index++) next[index] = Math.min(next[index - 1] + 1, row[index] + 1, row[index - 1] + (letter === other[index - 1] ? 0 : 1));
    row = next;
  }
  return row[other.length];
};

const MAX_NAME = 100; // characters that are compared and shown

export const unknownView = (models, wanted) => {
  const name = wanted.slice(0, MAX_NAME);
  const far = (model) => distance(name.toLowerCase(), model.name.toLowerCase());
  const nearest = [...models].sort((one, other) => far(one) - far(other))[0];
  const found = nearest && far(nearest) <= Math.max(2, name.length / 3) ? nearest : null;
  const [intro, tiles] = galleryView(models, `There is no model “${name}” here.`);
  if (found) intro.lastChild.replaceChildren("Did you mean ", make("a", { href: pathOf(found) }, found.name), "?");
  return [intro, tiles];
};
