// What was predicted since the page was opened, newest first. It is forgotten when the page is closed.

import { make } from "./dom.js";

const MAX_SHOWN = 12;
const SIDE = 88; // pixels of a thumbnail

const thumbOf = (widgets) => Object.values(widgets).find(({ thumb }) => thumb)?.thumb(SIDE);

// `restore(saved)` puts inputs back. Entries of one series replace each other: a drawing is one entry
// for all its strokes.
export const earlierPanel = (restore) => {
  const strip = make("div", { class: "strip" });
  const element = make("section", { class: "earlier", "aria-label": "Earlier in this session" },
    make("h3", {}, "Earlier in this session"), strip);
  let latest = null;
  const add = (series, widgets, saved, words, verdict) => {
    if (latest === series) strip.firstChild?.remove();
    latest = series;
    const thumb = thumbOf(widgets);
    const content = thumb ? [make("img", { src: thumb, alt: "" }), make("span", {}, verdict)] : [make("span", {}, words), make("strong", {}, verdict)];
    strip.prepend(make("button", { type: "button", class: thumb ? "pictured" : "words", "aria-label": `Show again: ${thumb ? "" : `${words}, `}${verdict}`, onclick: () => restore(saved) }, content));
    while (strip.childElementCount > MAX_SHOWN) strip.lastChild.remove();
  };
  return { element, add };
};
