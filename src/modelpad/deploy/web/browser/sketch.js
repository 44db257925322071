// Drawings in MNIST's form. The same steps and limits as modelpad's fields/preparation.py, which
// explains them.

import { InvalidInput } from "./errors.js";
import { array, f32, largest, median, plane, rint, smallest } from "./numbers.js";
import { borderOf, extractInk, isDrawn, isPhotograph } from "./paper.js";
import { flatten, isOpaque, readPicture, toGrey } from "./picture.js";
import { crop, reduce, resize } from "./resample.js";

const OVERSAMPLING = 4;
const MIN_CONTRAST = 12;
const NOISE = 0.12;
const MIN_STROKE = 2.3, MAX_STROKE = 3.8;

export const decodeSketch = async ({ name, size, box }, value) =>
  array("float32", [size, size], Float32Array.from(prepare(await readPicture(value, name), size, box).data));

const prepare = (picture, size, box) => {
  if (picture.isGrey && picture.width === size && picture.height === size) {
    const levels = toGrey(picture);
    if (isPrepared(levels, size, box)) return plane(size, size, levels);
  }
  let ink = cropToInk(readInk(shrink(picture, box * OVERSAMPLING * 4)));
  if (Math.max(ink.width, ink.height) > 2 * box) ink = adjustStrokes(scale(ink, box * OVERSAMPLING), box);
  const small = scale(ink, box), factor = f32(255 / Math.max(largest(small.data), 1));
  return centre(plane(small.width, small.height, small.data.map((level) => rint(f32(level * factor)))), size);
};

const empty = () => new InvalidInput("The canvas is empty.", "Draw something and try again.");

const shrink = (picture, longest) => {
  const factor = Math.floor(Math.max(picture.width, picture.height) / longest);
  if (factor < 2) return picture;
  const pixels = { width: picture.width, height: picture.height, channels: 4, data: picture.data };
  if (isOpaque(picture)) return { isGrey: picture.isGrey, ...reduce(pixels, factor) };
  // Colours count by how opaque they are.
  const times = (one, other) => { const product = one * other + 128; return ((product >> 8) + product) >> 8; };
  const small = reduce({ ...pixels, data: picture.data.map((level, at) => (at % 4 === 3 ? level : times(level, picture.data[at - (at % 4) + 3]))) }, factor);
  const data = small.data.map((level, at) => {
    const alpha = small.data[at - (at % 4) + 3];
    return at % 4 === 3 || !alpha || alpha === 255 ? level : Math.min(255, Math.floor((255 * level) / alpha));
  });
  return { ...small, data };
};

const readInk = (picture) => {
  const grey = readGrey(picture);
  if (isPhotograph(grey)) {
    const found = extractInk(grey);
    if (found) return plane(found.width, found.height, Uint8Array.from(found.data, (level) => rint(f32(level * 255))));
    if (!isDrawn(grey)) throw empty();
  }
  const paper = median(borderOf(grey)), ink = grey.data.map((level) => Math.abs(level - paper));
  const strongest = largest(ink);
  if (strongest < MIN_CONTRAST) throw empty();
  const factor = f32(255 / strongest), noise = f32(NOISE * 255);
  return plane(grey.width, grey.height, Uint8Array.from(ink, (level) => { const scaled = f32(level * factor); return scaled < noise ? 0 : rint(scaled); }));
};

const readGrey = (picture) => {
  const toPlane = (flat) => plane(flat.width, flat.height, toGrey(flat, Float32Array));
  if (isOpaque(picture)) return toPlane(picture);
  const white = toPlane(flatten(picture, 255));
  return largest(white.data) - smallest(white.data) >= MIN_CONTRAST ? white : toPlane(flatten(picture, 0));
};

const cropToInk = (ink) => {
  let left = ink.width, right = -1, top = ink.height, bottom = -1;
  ink.data.forEach((level, index) => {
    if (!level) return;
    const row = Math.floor(index / ink.width), column = index % ink.width;
    left = Math.min(left, column); right = Math.max(right, column); top = Math.min(top, row); bottom = Math.max(bottom, row);
  });
  return crop(ink, left, top, right - left + 1, bottom - top + 1);
};

const scale = (ink, longest) => {
  const ratio = longest / Math.max(ink.width, ink.height);
  return resize(ink, Math.max(1, rint(ink.width * ratio)), Math.max(1, rint(ink.height * ratio)), "hamming");
};

const pad = ({ width, height, data }, margin) => {
  const wide = plane(width + 2 * margin, height + 2 * margin, new Uint8Array((width + 2 * margin) * (height + 2 * margin)));
  for (let row = 0; row < height; row++) wide.data.set(data.subarray(row * width, (row + 1) * width), (row + margin) * wide.width + margin);
  return wide;
};

// The strongest or faintest level of each pixel and its eight neighbours, several times.
const spread = (ink, times, choose) => {
  let { data } = ink;
  for (let round = 0; round < times; round++) {
    const from = data;
    data = from.map((_, index) => {
      const row = Math.floor(index / ink.width), column = index % ink.width;
      let found = from[index];
      for (let y = Math.max(0, row - 1); y <= Math.min(ink.height - 1, row + 1); y++) for (let x = Math.max(0, column - 1); x <= Math.min(ink.width - 1, column + 1); x++) found = choose(found, from[y * ink.width + x]);
      return found;
    });
  }
  return plane(ink.width, ink.height, data);
};

const adjustStrokes = (ink, box) => {
  const factor = f32(255 / Math.max(largest(ink.data), 1));
  const levels = plane(ink.width, ink.height, Float32Array.from(ink.data, (level) => level * factor));
  const width = strokeWidth(levels), unit = (box / 20) * OVERSAMPLING;
  const missing = rint((MIN_STROKE * unit - width) / 2), excess = rint((width - MAX_STROKE * unit) / 2);
  if (missing >= 1) return spread(pad({ ...levels, data: Uint8Array.from(levels.data, (level) => Math.min(level * 2, 255)) }, missing), missing, Math.max);
  if (excess >= 1) return cropToInk(spread(pad({ ...levels, data: Uint8Array.from(levels.data) }, 1), excess, Math.min));
  return ink;
};

const strokeWidth = ({ width, height, data }) => {
  const inside = pad(plane(width, height, Uint8Array.from(data, (level) => level > 96)), 1);
  let area = 0, edges = 0;
  inside.data.forEach((level, index) => {
    area += level;
    if (index % inside.width) edges += level !== inside.data[index - 1];
    if (index >= inside.width) edges += level !== inside.data[index - inside.width];
  });
  return (2 * area) / Math.max((edges * Math.PI) / 4, 1);
};

const centre = (small, size) => {
  const canvas = plane(size, size, new Uint8Array(size * size)), [rows, columns] = sums(small), middle = size / 2 + 0.5;
  const top = Math.min(Math.max(rint(middle - meanPosition(rows)), 0), size - small.height);
  const left = Math.min(Math.max(rint(middle - meanPosition(columns)), 0), size - small.width);
  for (let row = 0; row < small.height; row++) canvas.data.set(small.data.subarray(row * small.width, (row + 1) * small.width), (top + row) * size + left);
  return canvas;
};

const sums = ({ width, height, data }) => {
  const rows = new Array(height).fill(0), columns = new Array(width).fill(0);
  data.forEach((level, index) => { rows[Math.floor(index / width)] += level; columns[index % width] += level; });
  return [rows, columns];
};

const meanPosition = (values) => values.reduce((sum, value, index) => sum + value * index, 0) / values.reduce((sum, value) => sum + value, 0) + 0.5;

const isPrepared = (levels, size, box) => {
  const [rows, columns] = sums(plane(size, size, levels)), middle = size / 2 + 0.5;
  if (rows[0] || rows.at(-1) || largest(levels) < 128) return false;
  if (Math.abs(meanPosition(rows) - middle) > 1.5 || Math.abs(meanPosition(columns) - middle) > 1.5) return false;
  const extent = (values) => values.findLastIndex(Boolean) - values.findIndex(Boolean) + 1;
  return Math.abs(Math.max(extent(rows), extent(columns)) - box) <= 2;
};
