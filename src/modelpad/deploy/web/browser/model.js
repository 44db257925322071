// Runs an exported model, from the values of its fields to the values of its outputs. As modelpad's
// engine/typed.py and engine/session.py.

import { Tensor } from "../runtime/ort.mjs";
import { InvalidInput } from "./errors.js";
import { openFiles } from "./files.js";
import { openGraph } from "./graph.js";
import { decodeImage } from "./image.js";
import { array } from "./numbers.js";
import { encodeOutputs } from "./outputs.js";
import { decodeSketch } from "./sketch.js";
import { applySteps, placeBatch } from "./steps.js";
import { convert, DECODERS, defaultOf } from "./values.js";

const decodeField = async (field, value) => {
  const decode = { sketch: decodeSketch, image: decodeImage, ...DECODERS }[field.kind];
  const { shape, ...rest } = await decode(field, value);
  return applySteps(field.steps, { ...rest, shape: [1, ...shape] });
};

// The columns of a table, (1,) each, as one row.
const join = (columns) => {
  const dtype = columns.every((column) => column.dtype === columns[0].dtype) ? columns[0].dtype : "float64";
  return array(dtype, [1, columns.length], convert(columns.map(({ data }) => data[0]), dtype));
};

const decodeInputs = async (fields, given) => {
  const values = { ...Object.fromEntries(fields.map((field) => [field.name, defaultOf(field)])), ...given };
  const missing = fields.find(({ name }) => values[name] === undefined), unknown = Object.keys(values).find((name) => !fields.some((field) => field.name === name));
  if (missing || unknown !== undefined) throw new InvalidInput(missing ? `The field '${missing.name}' is missing.` : `There is no field '${unknown}'.`, `Give: ${fields.map(({ name }) => name).join(", ")}.`);
  const tensors = {};
  for (const tensor of new Set(fields.map((field) => field.tensor))) {
    const group = fields.filter((field) => field.tensor === tensor).sort((left, right) => (left.column ?? 0) - (right.column ?? 0));
    const parts = [];
    for (const field of group) parts.push(await decodeField(field, values[field.name]));
    tensors[tensor] = placeBatch(group[0].column === null ? parts[0] : join(parts), group[0].batch_axis);
  }
  return tensors;
};

// Gives { predict(values) } of a model whose graph takes all of its inputs at once.
const openTensors = (description, run) => {
  const { inputs } = description, names = inputs.map(({ name }) => name);
  return {
    predict: async (given) => {
      const named = given && Object.getPrototypeOf(given) === Object.prototype && Object.keys(given).every((name) => names.includes(name));
      const tensors = await decodeInputs(inputs, named ? given : { [names[0]]: given });
      const found = await run(Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape, data }]) => [name, new Tensor(dtype, data, shape)])));
      return encodeOutputs(description, Object.fromEntries(Object.entries(found).map(([name, { type, dims, data }]) => [name, array(type, [...dims], data)])));
    },
  };
};

// Opens the model of an exported folder, or of this page: { description, predict(values) }, and write(prompt) of
// one that writes. `predict` takes values by field name, or the value of the only field, and gives values by
// output name. `device` is "webgpu" or "wasm"; by default the former, if the export offers it.
export const load = async (base, { device } = {}) => {
  const read = openFiles(base === undefined ? undefined : new URL(base, document.baseURI));
  const description = JSON.parse(new TextDecoder().decode(await read("model/model.json")));
  const { run, ready } = openGraph(read, description, device);
  const open = description.sequence ? (await import("./text-model.js")).openText : async () => openTensors(description, run);
  return { description, read, ready, ...await open(description, read, run) };
};
