// The graph's outputs as values: labels with scores, numbers, pictures, lists. As modelpad's fields/*.py.

import { clip, rint, sizeOf } from "./numbers.js";
import { applySteps, batchFirst } from "./steps.js";

const PRESENT = 0.5; // the score from which one of several labels is present

const round = (value, digits) => Number(value.toFixed(digits));

const finite = (values, name) => {
  const numbers = Array.from(values, Number);
  if (!numbers.every(Number.isFinite)) throw new Error(`The model's output '${name}' is not finite.`);
  return numbers;
};

const one = ({ data }, name) => {
  if (data.length !== 1) throw new Error(`The model's output '${name}' is not one number.`);
  return finite(data, name)[0];
};

const nest = (values, [side, ...rest]) =>
  side === undefined ? values[0] : Array.from({ length: side }, (_, index) => nest(values.slice(index * sizeOf(rest), (index + 1) * sizeOf(rest)), rest));

const encodeLabel = (field, { data }, companion) => {
  const scores = finite(data, field.name);
  if (scores.length !== field.classes.length) throw new Error(`The model's output '${field.name}' is not one score for each of ${field.classes.length} classes.`);
  const order = scores.map((_, index) => index).sort((left, right) => scores[right] - scores[left] || left - right);
  const shown = order.slice(0, field.top ?? undefined), [best] = order;
  const answer = { label: field.classes[best], confidence: round(scores[best], 6), scores: Object.fromEntries(shown.map((index) => [field.classes[index], round(scores[index], 6)])) };
  if (field.multiple) answer.labels = order.filter((index) => scores[index] >= PRESENT).map((index) => field.classes[index]);
  if (field.familiarity) answer.unknown = one(companion(field.familiarity.tensor), field.name) < field.familiarity.threshold;
  if (field.heatmap) {
    const map = companion(field.heatmap.tensor);
    answer.heatmap = nest(finite(map.data, field.name).map((value) => round(value, 3)), map.shape);
  }
  return answer;
};

const encodeImage = (field, { shape: [height, width, channels], data }) => {
  const sheet = Object.assign(document.createElement("canvas"), { width, height }), context = sheet.getContext("2d"), pixels = context.createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) pixels.data[4 * pixel + channel] = clip(rint(data[pixel * channels + (channels === 1 ? 0 : channel)]), 0, 255);
    pixels.data[4 * pixel + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return sheet.toDataURL("image/png");
};

const plain = (dtype) => (dtype === "string" ? String : dtype === "bool" ? Boolean : Number);

const ENCODERS = {
  label: encodeLabel,
  image: encodeImage,
  score: (field, item) => round(one(item, field.name), 6),
  number: (field, { data }) => (field.nullable && Number.isNaN(Number(data[0])) ? null : one({ data }, field.name)),
  choice: (field, { dtype, data }) => plain(dtype)(data[0]),
  text: (field, { data }) => String(data[0]),
  tensor: (field, { dtype, shape, data }) => nest(Array.from(data, plain(dtype)), shape),
};

const takeFirst = (values, { batch_axis: axis, steps }) => {
  const all = batchFirst(values, axis), size = sizeOf(all.shape.slice(1));
  const item = applySteps(steps, { dtype: all.dtype, shape: [1, ...all.shape.slice(1)], data: all.data.slice(0, size) });
  return { ...item, shape: item.shape.slice(1) };
};

// The first item's values by field name.
export const encodeOutputs = (model, tensors) => Object.fromEntries(model.outputs.map((field) => {
  const companion = (name) => takeFirst(tensors[name], model.other_outputs.find(({ tensor }) => tensor === name));
  return [field.name, ENCODERS[field.kind](field, takeFirst(tensors[field.tensor], field), companion)];
}));
