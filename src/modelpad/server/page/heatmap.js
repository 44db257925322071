// Draws where a model sees what it predicts, over the image that it was shown.

import { make } from "./dom.js";

const STRONGEST = 165; // of 255: the image stays visible

// A few pixels, one for each number 0..1: transparent, then yellow, then red.
const draw = (rows) => {
  const small = make("canvas", { width: rows[0].length, height: rows.length });
  const context = small.getContext("2d");
  const pixels = context.createImageData(small.width, small.height);
  rows.flat().forEach((value, index) => pixels.data.set([255, 220 - 190 * value, 40, STRONGEST * value], 4 * index));
  context.putImageData(pixels, 0, 0);
  return small;
};

// A canvas of the image's size. A model that crops is shown the centre square only.
export const heatCanvas = (rows, { naturalWidth: width, naturalHeight: height }, crops) => {
  const sheet = make("canvas", { width, height, class: "heat", "aria-hidden": "true" });
  const side = Math.min(width, height);
  const [across, down] = crops ? [side, side] : [width, height];
  const context = sheet.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(draw(rows), (width - across) / 2, (height - down) / 2, across, down);
  return sheet;
};

// Shows or hides all heat maps, in this visit.
export const heatSwitch = () => {
  const box = make("input", { type: "checkbox", checked: document.body.dataset.heat !== "off",
    onchange: () => { document.body.dataset.heat = box.checked ? "on" : "off"; } });
  return make("label", { class: "switch" }, box, "Show where in the image this is seen");
};
