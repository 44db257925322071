// Photographs of paper: tells them from clean drawings, and reduces them to their ink.
// The same steps and limits as modelpad's fields/paper.py, which explains them.

import { clip, count, f32, largest, median, plane, rint } from "./numbers.js";
import { crop, resize } from "./resample.js";

const MIN_SIDE = 64, MAX_SIDE = 400;
const FLAT = 6, FLAT_BORDER = 0.6;
const DRAWN_BORDER = 0.7, DRAWN_AREA = 0.5;
const CLEAN_INK = 0.7, CLEAN_BORDER = 0.97, CLEAN_AREA = 0.8;
const BLOCKS = 40, COARSE = 10, STROKE_BLOCKS = 5;
const FAINT = 0.35, DARK = 0.6;
const MIN_DARKNESS = 0.15, GRAIN = 6;
const RULED = 0.7, MAX_RISE = 0.03, MAX_RULE = 0.7;
const SPECK = 0.08, INNER = 0.3, CELL = 4;

export const borderOf = ({ width, height, data }) => {
  const values = [...data.subarray(0, width), ...data.subarray((height - 1) * width)];
  for (const column of [0, width - 1]) for (let row = 0; row < height; row++) values.push(data[row * width + column]);
  return Float32Array.from(values);
};

const map = (grid, change) => plane(grid.width, grid.height, grid.data.map(change));

export const isPhotograph = (grey) => {
  if (Math.min(grey.width, grey.height) < MIN_SIDE) return false;
  const border = borderOf(grey), middle = median(border), area = grey.data.length;
  const far = (level) => Math.abs(f32(level - middle));
  const clear = f32(f32(CLEAN_INK) * largest(grey.data.map(far)));
  const isFlat = (level) => far(level) <= FLAT, isClean = (level) => isFlat(level) || far(level) >= clear;
  return count(border, isFlat) / border.length < FLAT_BORDER || count(border, isClean) / border.length < CLEAN_BORDER || count(grey.data, isClean) / area < CLEAN_AREA;
};

export const isDrawn = (grey) => {
  const border = borderOf(grey), middle = median(border);
  const plain = count(border, (level) => Math.abs(level - middle) <= FLAT) / border.length;
  return plain >= DRAWN_BORDER && count(grey.data, (level) => level === middle) / grey.data.length >= DRAWN_AREA;
};

// The ink of grey levels, 0 for paper to 1, or null if there is none.
export const extractInk = (grey) => {
  const smooth = average(Math.max(grey.width, grey.height) > MAX_SIDE ? halve(grey) : grey);
  const [darkness, strongest] = compareWithPaper(isInkDark(smooth) ? smooth : map(smooth, (level) => 255 - level));
  if (strongest < MIN_DARKNESS) return null;
  const relative = transpose(eraseRules(transpose(eraseRules(map(darkness, (level) => level / f32(strongest))))));
  const ink = map(relative, (level) => clip(f32(f32(level - f32(FAINT)) / f32(DARK - FAINT)), 0, 1));
  const parts = findParts(ink);
  return map(ink, (level, index) => (parts[index] ? level : 0));
};

const halve = ({ width, height, data }) => {
  const half = plane(width >> 1, height >> 1);
  half.data.forEach((_, index) => {
    const at = 2 * Math.floor(index / half.width) * width + 2 * (index % half.width);
    half.data[index] = (data[at] + data[at + 1] + data[at + width] + data[at + width + 1]) / 4;
  });
  return half;
};

const transpose = ({ width, height, data }) => {
  const turned = plane(height, width);
  turned.data.forEach((_, index) => { turned.data[index] = data[(index % height) * width + Math.floor(index / height)]; });
  return turned;
};

// Replaces each level by what `join` makes of those around it along an axis; edges are repeated.
const slide = ({ width, height, data }, reach, down, join) => {
  const result = plane(width, height);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) {
    const around = [];
    for (let step = -reach; step <= reach; step++) around.push(down ? data[clip(row + step, 0, height - 1) * width + column] : data[row * width + clip(column + step, 0, width - 1)]);
    result.data[row * width + column] = join(around);
  }
  return result;
};
const mean = (values) => f32(values.reduce((sum, value) => f32(sum + value), 0) / f32(values.length));
const average = (grid) => slide(slide(grid, 1, true, mean), 1, false, mean);
const dilate = (grid, reach) => slide(slide(grid, reach, true, (around) => Math.max(...around)), reach, false, (around) => Math.max(...around));

// Erases straight lines that cross the picture from left to right.
export const eraseRules = (ink) => {
  const { width, height } = ink, cells = Math.floor(width / CELL), reach = rint(MAX_RISE * width);
  const marked = new Uint8Array(height * cells);
  for (let row = 0; row < height; row++) for (let column = 0; column < cells * CELL; column++) if (ink.data[row * width + column] > f32(FAINT / 2)) marked[row * cells + Math.floor(column / CELL)] = 1;
  const lines = [];
  for (let rise = -reach; rise <= reach; rise++) {
    const shifts = Array.from({ length: cells }, (_, cell) => rint(rise * ((cell + 0.5) / cells - 0.5)));
    for (let row = 0; row < height; row++) {
      let covered = 0;
      for (let cell = 0; cell < cells; cell++) covered += marked[clip(row + shifts[cell], 0, height - 1) * cells + cell];
      if (covered / cells >= RULED) lines.push([row, rise]);
    }
  }
  const result = plane(width, height, ink.data.slice());
  if (lines.length > height) return result;
  for (const [row, rise] of lines) {
    const places = Array.from({ length: width }, (_, column) => clip(row + rint(rise * ((column + 0.5) / width - 0.5)), 0, height - 1) * width + column);
    const middle = median(places.map((place) => ink.data[place]));
    if (middle > f32(MAX_RULE)) continue;
    const stroke = f32(f32(f32(1.3) * middle) + f32(0.1));
    for (const place of places) if (!(ink.data[place] > stroke)) result.data[place] = 0;
  }
  return result;
};

const isInkDark = (grey) => {
  const paper = enlarge(blockMedians(grey, COARSE), grey, COARSE);
  let sum = 0;
  grey.data.forEach((level, index) => { sum += f32(level - paper.data[index]) ** 3; });
  return sum <= 0;
};

const compareWithPaper = (grey) => {
  const paper = estimatePaper(grey);
  let darkness = map(grey, (level, index) => f32(1 - f32(level / Math.max(paper.data[index], 1))));
  const middle = median(darkness.data);
  darkness = map(darkness, (level) => level - middle);
  const few = Math.max(12, Math.floor(darkness.data.length / 1000));
  const strongest = darkness.data.slice().sort().slice(-few).reduce((sum, value) => sum + value, 0) / few;
  const grain = 1.4826 * median(darkness.data.map(Math.abs));
  return [map(darkness, (level) => Math.max(level, 0)), strongest >= GRAIN * grain ? strongest : 0];
};

const estimatePaper = (grey) => {
  const reach = STROKE_BLOCKS >> 1, negate = (grid) => map(grid, (level) => -level);
  const blocks = blockMedians(grey, BLOCKS), around = extend(blocks, 2 * reach);
  const closed = negate(dilate(negate(dilate(around, reach)), reach));
  return enlarge(crop(closed, 2 * reach, 2 * reach, blocks.width, blocks.height), grey, BLOCKS);
};

// Goes on beyond the edges as the levels come to them: reflected in both directions.
const extend = (grid, margin) => {
  const along = ({ width, height, data }) => {
    const wide = plane(width + 2 * margin, height);
    for (let row = 0; row < height; row++) for (let column = -margin; column < width + margin; column++) {
      const edge = clip(column, 0, width - 1), mirror = clip(2 * edge - column, 0, width - 1);
      wide.data[row * wide.width + column + margin] = edge === column ? data[row * width + column] : f32(2 * data[row * width + edge] - data[row * width + mirror]);
    }
    return wide;
  };
  return along(transpose(along(transpose(grid))));
};

const blockMedians = ({ width, height, data }, number) => {
  const side = Math.floor(Math.max(width, height) / number), middle = Math.floor((side * side) / 2);
  const blocks = plane(Math.ceil(width / side), Math.ceil(height / side)), one = new Float32Array(side * side);
  for (let row = 0; row < blocks.height; row++) for (let column = 0; column < blocks.width; column++) {
    for (let index = 0; index < one.length; index++) {
      const y = Math.min(height - 1, row * side + Math.floor(index / side)), x = Math.min(width - 1, column * side + (index % side));
      one[index] = data[y * width + x];
    }
    blocks.data[row * blocks.width + column] = one.sort()[middle];
  }
  return blocks;
};

const enlarge = (blocks, { width, height }, number) => {
  const side = Math.floor(Math.max(width, height) / number);
  return crop(resize(blocks, blocks.width * side, blocks.height * side, "bilinear"), 0, 0, width, height);
};

// For each pixel, whether it is of the ink that counts: no speck, and nothing that touches the edge.
const findParts = ({ width, height, data }) => {
  const rows = Math.ceil(height / CELL), columns = Math.ceil(width / CELL), amounts = new Float32Array(rows * columns);
  data.forEach((level, index) => { amounts[Math.floor(index / width / CELL) * columns + Math.floor((index % width) / CELL)] += level; });
  const mass = (part) => part.reduce((sum, cell) => sum + amounts[cell], 0);
  const isInner = (cell) => cell >= columns && cell < (rows - 1) * columns && cell % columns > 0 && cell % columns < columns - 1;
  let parts = connect(amounts, columns);
  const inner = parts.filter((part) => part.every(isInner));
  if (inner.reduce((sum, part) => sum + mass(part), 0) >= INNER * amounts.reduce((sum, each) => sum + each, 0)) parts = inner;
  const most = Math.max(0, ...parts.map(mass)), kept = new Uint8Array(rows * columns);
  for (const part of parts) if (mass(part) >= SPECK * most) for (const cell of part) kept[cell] = 1;
  return data.map((_, index) => kept[Math.floor(index / width / CELL) * columns + Math.floor((index % width) / CELL)]);
};

// The connected parts, corners included.
const connect = (amounts, columns) => {
  const free = amounts.map((amount) => amount > 0), parts = [];
  free.forEach((isFree, start) => {
    if (!free[start]) return;
    const part = [start];
    free[start] = 0;
    for (const cell of part) for (const down of [-1, 0, 1]) for (const right of [-1, 0, 1]) {
      const column = (cell % columns) + right, next = cell + down * columns + right;
      if (column < 0 || column >= columns || next < 0 || !free[next]) continue;
      free[next] = 0;
      part.push(next);
    }
    parts.push(part);
  });
  return parts;
};
