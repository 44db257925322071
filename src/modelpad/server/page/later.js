// What is below the first screen: built when the browser has time for it, one part after the other, so that
// none keeps a slow phone from answering. Until then it takes up the place.

import { make } from "./dom.js";

const idle = (run) => { if (window.requestIdleCallback) requestIdleCallback(run, { timeout: 1500 }); else setTimeout(run); };

// `open()` returns { element, parts }, whose parts are functions that fill it, or null. `failure` stands for
// what cannot be built.
export const later = (open, failure) => {
  const place = make("div", { class: "later" });
  const start = () => {
    const view = open();
    if (!view) return;
    place.replaceChildren(view.element);
    parts = [...view.parts];
  };
  let parts = [start];
  const step = () => {
    try { parts.shift()(); } catch {
      place.replaceChildren(failure);
      parts = [];
    }
    if (parts.length) idle(step);
    else place.className = "filled";
  };
  idle(step);
  return place;
};
