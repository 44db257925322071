// Resizes pictures as Pillow does (libImaging/Resample.c and Reduce.c): a filter widened where it
// reduces, coefficients of 22 bits, one pass for each direction, and rounding after each.

import { array, clip, f32 } from "./numbers.js";

const BITS = 22;
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

// Each filter's reach, and its weight at a distance.
export const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, (x) => (x === 0 ? 1 : Math.abs(x) >= 1 ? 0 : (Math.sin(Math.abs(x) * Math.PI) / (Math.abs(x) * Math.PI)) * (0.54 + 0.46 * Math.cos(Math.abs(x) * Math.PI)))],
  bicubic: [2, (x) => {
    const a = -0.5, d = Math.abs(x);
    return d < 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  }],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

// For each new position: the first of the old ones that it is made from, and their weights.
const plan = (from, to, [reach, weigh], round) => {
  const scale = from / to, wide = Math.max(scale, 1), support = reach * wide;
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: last - first }, (__, step) => weigh((step + first - centre + 0.5) / wide));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return [first, weights.map((weight) => round(total === 0 ? weight : weight / total))];
  });
};

const toFixed = (weight) => Math.trunc((weight < 0 ? -0.5 : 0.5) + weight * (1 << BITS));

// One pass along an axis: `step` elements lie between neighbours, `lines` gives where lines start.
const pass = (source, target, plans, lines, step, isBytes) => {
  for (const [from, to] of lines) {
    for (let place = 0; place < plans.length; place++) {
      const [first, weights] = plans[place];
      let sum = isBytes ? 1 << (BITS - 1) : 0;
      for (let index = 0; index < weights.length; index++) sum += source[from + (first + index) * step] * weights[index];
      target[to + place * step] = isBytes ? clip(Math.floor(sum / (1 << BITS)), 0, 255) : sum;
    }
  }
};

const alongRows = (pixels, width, filter, isBytes) => {
  const { width: across, height, channels, data } = pixels;
  if (width === across) return pixels;
  const lines = [], next = new data.constructor(width * height * channels);
  for (let row = 0; row < height; row++) for (let channel = 0; channel < channels; channel++) lines.push([row * across * channels + channel, row * width * channels + channel]);
  pass(data, next, plan(across, width, FILTERS[filter], isBytes ? toFixed : Number), lines, channels, isBytes);
  return { width, height, channels, data: next };
};

const alongColumns = (pixels, height, filter, isBytes) => {
  const { width, height: down, channels, data } = pixels;
  if (height === down) return pixels;
  const next = new data.constructor(width * height * channels), lines = Array.from({ length: width * channels }, (_, place) => [place, place]);
  pass(data, next, plan(down, height, FILTERS[filter], isBytes ? toFixed : Number), lines, width * channels, isBytes);
  return { width, height, channels, data: next };
};

// Pixels { width, height, channels, data } in another size. Data of floats (one channel) stay floats.
// As Pillow 13, which begins with the columns where that drops clearly more; older ones never do.
export const resize = ({ channels = 1, ...pixels }, width, height, filter) => {
  const given = { ...pixels, channels };
  if (filter === "nearest") return resizeNearest(given, width, height);
  const isBytes = !(pixels.data instanceof Float32Array), dropped = pixels.height - height;
  return dropped > 0 && dropped > 2 * (pixels.width - width)
    ? alongRows(alongColumns(given, height, filter, isBytes), width, filter, isBytes)
    : alongColumns(alongRows(given, width, filter, isBytes), height, filter, isBytes);
};

const resizeNearest = ({ width: across, height: down, channels = 1, data }, width, height) => {
  const target = new Uint8Array(width * height * channels);
  const find = (from, to) => {
    const scale = from / to, places = [];
    for (let at = scale * 0.5; places.length < to; at += scale) places.push(Math.min(from - 1, Math.trunc(at))); // added up, as there
    return places;
  };
  const columns = find(across, width);
  find(down, height).forEach((row, y) => columns.forEach((column, x) => {
    for (let channel = 0; channel < channels; channel++) target[(y * width + x) * channels + channel] = data[(row * across + column) * channels + channel];
  }));
  return { width, height, channels, data: target };
};

// The means of boxes of `factor` pixels each way; at the right and at the bottom of what is left.
export const reduce = ({ width, height, channels = 1, data }, factor) => {
  const across = Math.ceil(width / factor), down = Math.ceil(height / factor);
  const target = new Uint8Array(across * down * channels);
  for (let y = 0; y < down; y++) {
    const bottom = Math.min(height, (y + 1) * factor);
    for (let x = 0; x < across; x++) {
      const right = Math.min(width, (x + 1) * factor), size = (bottom - y * factor) * (right - x * factor);
      const multiplier = Math.trunc(f32(4294967296 / (256 * size)));
      for (let channel = 0; channel < channels; channel++) {
        let sum = size >> 1;
        for (let row = y * factor; row < bottom; row++) for (let column = x * factor; column < right; column++) sum += data[(row * width + column) * channels + channel];
        target[(y * across + x) * channels + channel] = Math.floor((sum * multiplier) / 16777216);
      }
    }
  }
  return { width: across, height: down, channels, data: target };
};

export const crop = ({ width, channels = 1, data }, left, top, across, down) => {
  const target = new data.constructor(across * down * channels);
  for (let row = 0; row < down; row++) {
    const start = ((top + row) * width + left) * channels;
    target.set(data.subarray(start, start + across * channels), row * across * channels);
  }
  return { width: across, height: down, channels, data: target };
};

export const toArray = ({ width, height, channels, data }) => array("float32", [height, width, channels], Float32Array.from(data));
