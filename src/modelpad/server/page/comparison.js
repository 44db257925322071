// Two pictures of one place, before and after, with a divider between them that is dragged, or moved by
// the slider below. `before` is left of it. Both fill a box with the proportions of the result.

import { make } from "./dom.js";

const HALF = 50;
const SLACK = 6; // pixels

// With `crops`, `before` is cut to these proportions around its centre, otherwise stretched to them.
export const comparison = (words, crops) => {
  const left = make("span", { class: "tag left" }, words.before), right = make("span", { class: "tag right" }, words.after);
  const line = make("span", { class: "divider", "aria-hidden": "true" });
  const before = make("div", { class: crops ? "layer crops" : "layer" }), after = make("div", { class: "layer after" });
  const sheet = make("div", { class: "comparison" }, before, after, line, left, right);
  const range = make("input", { type: "range", class: "compare", min: 0, max: 100, step: 1, value: HALF, "aria-label": words.label });
  let isTouched = false, ratio = 0;
  let finger = null; // where one was put down that has not moved sideways yet: it may be about to scroll

  const place = () => {
    sheet.style.setProperty("--at", `${range.value}%`);
    left.classList.toggle("away", range.value < 15);
    right.classList.toggle("away", range.value > 85);
    range.setAttribute("aria-valuetext", `${range.value} % ${words.before.toLowerCase()}`);
  };
  const moveTo = (share) => { range.value = Math.round(100 * share); place(); };
  const drag = (event) => {
    if (finger !== null && event.type !== "pointerup" && Math.abs(event.clientX - finger) < SLACK) return;
    finger = null;
    const box = sheet.getBoundingClientRect();
    isTouched = true;
    moveTo((event.clientX - box.left) / box.width);
  };
  sheet.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || range.disabled) return;
    sheet.setPointerCapture(event.pointerId);
    finger = event.pointerType === "touch" ? event.clientX : null;
    drag(event);
  });
  sheet.addEventListener("pointermove", (event) => { if (sheet.hasPointerCapture(event.pointerId)) drag(event); });
  sheet.addEventListener("pointerup", (event) => { if (sheet.hasPointerCapture(event.pointerId)) drag(event); });
  range.addEventListener("input", () => { isTouched = true; place(); });
  place();
  return {
    sheet,
    range,
    // Pictures as elements of any size; null for one that there is not.
    show: (one, other, { width, height }) => {
      if (one !== before.firstChild) before.replaceChildren(...[one].filter(Boolean));
      if (other !== after.firstChild) after.replaceChildren(...[other].filter(Boolean));
      if (ratio !== width / height) {
        ratio = width / height;
        sheet.style.setProperty("--ratio", ratio);
        sheet.replaceWith(sheet); // another picture, not the same one moved
      }
      sheet.classList.toggle("single", !one || !other);
      range.disabled = !one || !other;
    },
    // Where the divider is until somebody moves it.
    suggest: (share) => { if (!isTouched) moveTo(share); },
  };
};
