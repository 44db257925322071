// Steps between a field's array and the graph's tensor. As modelpad's fields/steps.py: arrays have
// the batch axis first.

import { array, f32, largest, sizeOf } from "./numbers.js";
import { convert } from "./values.js";

const alongLast = (values, change) => {
  const side = values.shape.at(-1), data = new Float32Array(values.data.length);
  for (let start = 0; start < data.length; start += side) data.set(change(Array.from(values.data.subarray(start, start + side), Number)), start);
  return array("float32", values.shape, data);
};

const STEPS = {
  affine: (values, { multiply, offset }) => {
    const data = Float32Array.from(values.data, (value, index) => f32(f32(Number(value)) * f32(multiply[index % multiply.length])));
    return array("float32", values.shape, offset.some(Boolean) ? data.map((value, index) => value + f32(offset[index % offset.length])) : data);
  },
  reverse_channels: (values) => {
    const side = values.shape.at(-1);
    return { ...values, data: values.data.map((_, index) => values.data[index - (index % side) + side - 1 - (index % side)]) };
  },
  transpose: (values, { order }) => transpose(values, order),
  reshape: ({ dtype, shape, data }, { item_shape: wanted }) => {
    const known = wanted.reduce((product, side) => (side === -1 ? product : product * side), 1);
    return array(dtype, [shape[0], ...wanted.map((side) => (side === -1 ? sizeOf(shape) / shape[0] / known : side))], data);
  },
  cast: ({ shape, data }, { dtype }) => array(dtype, shape, convert(data, dtype)),
  softmax: (values) => alongLast(values, (logits) => {
    const most = largest(logits), powers = logits.map((logit) => Math.exp(logit - most)), total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  }),
  sigmoid: (values) => array("float32", values.shape, Float32Array.from(values.data, (value) => 1 / (1 + Math.exp(-Number(value))))),
  complement: ({ shape, data }) => array("float32", [shape[0], 2], Float32Array.from({ length: 2 * data.length }, (_, index) => (index % 2 ? f32(data[index >> 1]) : 1 - f32(data[index >> 1])))),
};

export const transpose = ({ dtype, shape, data }, order) => {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1))), sides = order.map((axis) => shape[axis]), jumps = order.map((axis) => strides[axis]);
  const places = sides.map(() => 0), target = data.slice();
  for (let at = 0, from = 0; at < target.length; at++) {
    target[at] = data[from];
    for (let axis = sides.length - 1; axis >= 0; axis--) {
      from += jumps[axis];
      if (++places[axis] < sides[axis]) break;
      from -= jumps[axis] * sides[axis];
      places[axis] = 0;
    }
  }
  return array(dtype, sides, target);
};

export const applySteps = (steps, values) => steps.reduce((now, step) => STEPS[step.op](now, step), values);

const moved = (rank, from, to) => {
  const order = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis !== from);
  order.splice(to, 0, from);
  return order;
};

// Moves the batch axis from the front to where the tensor has it, or removes it; and back.
export const placeBatch = (values, axis) => (axis === null ? { ...values, shape: values.shape.slice(1) } : axis ? transpose(values, moved(values.shape.length, 0, axis)) : values);
export const batchFirst = (values, axis) => (axis === null ? { ...values, shape: [1, ...values.shape] } : axis ? transpose(values, moved(values.shape.length, axis, 0)) : values);
