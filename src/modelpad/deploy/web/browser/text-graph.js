// Runs the graph of a language model on pieces of texts, each with the states in which the piece
// before it ended. As modelpad's engine/text/graph.py and states.py.

import { Tensor } from "../runtime/ort.mjs";
import { array, sizeOf } from "./numbers.js";
import { convert } from "./values.js";

const integers = (values, shape) => new Tensor("int64", BigInt64Array.from(values, BigInt), shape);

// Recurrent states start with zeros, growing ones empty.
const makeStart = ({ dtype, shape }) => {
  const sides = [1, ...shape.map((side) => Math.max(side, 0))];
  return new Tensor(dtype, dtype === "float16" ? new Uint16Array(sizeOf(sides)) : convert(new Array(sizeOf(sides)).fill(0), dtype), sides);
};

const takeRows = (tensor, rows) => {
  const { type, dims, data } = tensor;
  if (rows.length === dims[0] && rows.every((row, index) => row === index)) return tensor;
  const size = data.length / dims[0], taken = new data.constructor(rows.length * size);
  rows.forEach((row, index) => taken.set(data.subarray(row * size, (row + 1) * size), index * size));
  return new Tensor(type, taken, [rows.length, ...dims.slice(1)]);
};

// States are { length, tensors }: those of all rows, after so many tokens of each. `run` takes tensors by name,
// and the names of those wanted.
export const textGraph = (model, run) => {
  const outputs = [model.output, ...model.states.map(({ output }) => output)];
  return {
    start: () => ({ length: 0, tensors: model.states.map(makeStart) }),
    take: ({ length, tensors }, rows) => ({ length, tensors: tensors.map((tensor) => takeRows(tensor, rows)) }),
    // Reads a piece of each row, all of the same length; gives { output, states }. `wanted` are the places in the
    // pieces for which there is an output, of a model that writes.
    advance: async (pieces, { length, tensors }, wanted = []) => {
      const width = pieces[0].length, places = pieces.flatMap((_, row) => wanted.map((place) => row * width + place));
      const feeds = { [model.tokens]: integers(pieces.flat(), [pieces.length, width]), [model.lengths]: integers(pieces.map(() => width), [pieces.length]) };
      if (model.positions) feeds[model.positions] = integers(places.length ? places : [0], [places.length || 1]);
      if (model.offsets) feeds[model.offsets] = integers(pieces.map(() => length), [pieces.length]);
      model.states.forEach(({ input }, index) => { feeds[input] = tensors[index]; });
      const found = await run(feeds, outputs), { type, dims, data } = found[model.output];
      return { output: array(type, [...dims], data), states: { length: length + width, tensors: model.states.map(({ output }) => found[output]) } };
    },
  };
};
